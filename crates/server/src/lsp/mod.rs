//! `ser lsp`: the language in editors, over standard input and output (Language Server Protocol 3.17).

mod complete;
mod definition;
mod diagnose;
mod documents;
mod hover;
mod outline;
mod place;

use std::process::ExitCode;

use anyhow::{Context, Result};
use lsp_server::{Connection, ErrorCode, ExtractError, Message, Notification, Request, RequestId, Response};
use lsp_types::notification::{
    DidChangeTextDocument, DidCloseTextDocument, DidOpenTextDocument, DidSaveTextDocument, Notification as _,
    PublishDiagnostics,
};
use lsp_types::request::{Completion, DocumentSymbolRequest, Formatting, GotoDefinition, HoverRequest, Request as _};
use lsp_types::{
    CompletionOptions, HoverProviderCapability, OneOf, ServerCapabilities, TextDocumentSyncCapability,
    TextDocumentSyncKind, TextEdit, Url,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use documents::Documents;

/// Serves one editor until it says good-bye.
///
/// # Errors
/// When the editor does not speak the protocol.
pub(crate) fn run() -> Result<ExitCode> {
    let (connection, threads) = Connection::stdio();
    let capabilities = serde_json::to_value(capabilities()).context("the capabilities are no JSON")?;
    connection.initialize(capabilities).context("the editor did not introduce itself")?;
    let mut session = Session { documents: Documents::default(), connection: &connection };
    let is_finished = session.serve()?;
    drop(connection);
    threads.join().context("standard input or output failed")?;
    // LSP: an exit without shutdown before it is an error.
    Ok(ExitCode::from(u8::from(!is_finished)))
}

fn capabilities() -> ServerCapabilities {
    let triggers = ["$", "\"", "(", "!"].map(str::to_owned).into();
    ServerCapabilities {
        text_document_sync: Some(TextDocumentSyncCapability::Kind(TextDocumentSyncKind::FULL)),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        completion_provider: Some(CompletionOptions { trigger_characters: Some(triggers), ..Default::default() }),
        definition_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        document_formatting_provider: Some(OneOf::Left(true)),
        ..ServerCapabilities::default()
    }
}

/// A conversation with an editor.
struct Session<'a> {
    documents: Documents,
    connection: &'a Connection,
}

impl Session<'_> {
    /// Answers until the editor ends it; false when it just went away.
    fn serve(&mut self) -> Result<bool> {
        for message in &self.connection.receiver {
            match message {
                Message::Request(request) => {
                    if self.connection.handle_shutdown(&request).context("the editor did not say good-bye")? {
                        return Ok(true);
                    }
                    let response = self.answer(request);
                    self.connection.sender.send(Message::Response(response)).context("the editor is gone")?;
                }
                Message::Notification(notification) => self.take(notification)?,
                Message::Response(_) => {}
            }
        }
        Ok(false)
    }

    fn answer(&self, request: Request) -> Response {
        let id = request.id.clone();
        let documents = &self.documents;
        let result = match request.method.as_str() {
            HoverRequest::METHOD => with(request, |asked: lsp_types::HoverParams| {
                let at = asked.text_document_position_params;
                json(&hover::hover(documents, &at.text_document.uri, at.position))
            }),
            Completion::METHOD => with(request, |asked: lsp_types::CompletionParams| {
                let at = asked.text_document_position;
                json(&complete::complete(documents, &at.text_document.uri, at.position))
            }),
            GotoDefinition::METHOD => with(request, |asked: lsp_types::GotoDefinitionParams| {
                let at = asked.text_document_position_params;
                json(&definition::definition(documents, &at.text_document.uri, at.position))
            }),
            DocumentSymbolRequest::METHOD => with(request, |asked: lsp_types::DocumentSymbolParams| {
                json(&outline::symbols(documents, &asked.text_document.uri))
            }),
            Formatting::METHOD => with(request, |asked: lsp_types::DocumentFormattingParams| {
                json(&formatted(documents, &asked.text_document.uri))
            }),
            other => Err((ErrorCode::MethodNotFound, format!("{other} is not served"))),
        };
        match result {
            Ok(value) => Response::new_ok(id, value),
            Err((code, why)) => failed(id, code, why),
        }
    }

    fn take(&mut self, notification: Notification) -> Result<()> {
        let uri = match notification.method.as_str() {
            DidOpenTextDocument::METHOD => {
                let Some(told) = read::<lsp_types::DidOpenTextDocumentParams>(notification) else { return Ok(()) };
                self.documents.open(told.text_document.uri.clone(), told.text_document.text);
                told.text_document.uri
            }
            DidChangeTextDocument::METHOD => {
                let Some(mut told) = read::<lsp_types::DidChangeTextDocumentParams>(notification) else {
                    return Ok(());
                };
                // The whole text each time: that is what the capabilities ask for.
                if let Some(change) = told.content_changes.pop() {
                    self.documents.open(told.text_document.uri.clone(), change.text);
                }
                told.text_document.uri
            }
            DidSaveTextDocument::METHOD => {
                let Some(told) = read::<lsp_types::DidSaveTextDocumentParams>(notification) else { return Ok(()) };
                told.text_document.uri
            }
            DidCloseTextDocument::METHOD => {
                let Some(told) = read::<lsp_types::DidCloseTextDocumentParams>(notification) else { return Ok(()) };
                self.documents.close(&told.text_document.uri);
                return self.publish(told.text_document.uri, Vec::new());
            }
            _ => return Ok(()),
        };
        for (uri, found) in diagnose::diagnose(&self.documents, &uri) {
            self.publish(uri, found)?;
        }
        Ok(())
    }

    fn publish(&self, uri: Url, diagnostics: Vec<lsp_types::Diagnostic>) -> Result<()> {
        let told = lsp_types::PublishDiagnosticsParams { uri, diagnostics, version: None };
        let notification = Notification::new(PublishDiagnostics::METHOD.to_owned(), told);
        self.connection.sender.send(Message::Notification(notification)).context("the editor is gone")
    }
}

/// The whole document in the layout of `ser fmt`; nothing when it cannot be read.
fn formatted(documents: &Documents, uri: &Url) -> Option<Vec<TextEdit>> {
    let text = documents.text(uri)?;
    let new_text = script::format(uri.path(), &text).ok()?;
    Some(vec![TextEdit { range: place::whole(&text), new_text }])
}

type Failure = (ErrorCode, String);

fn with<T: DeserializeOwned>(
    request: Request,
    answer: impl FnOnce(T) -> Result<Value, Failure>,
) -> Result<Value, Failure> {
    let method = request.method.clone();
    match request.extract::<T>(&method) {
        Ok((_, asked)) => answer(asked),
        Err(ExtractError::JsonError { error, .. }) => Err((ErrorCode::InvalidParams, error.to_string())),
        Err(ExtractError::MethodMismatch(_)) => Err((ErrorCode::InternalError, method)),
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| (ErrorCode::InternalError, error.to_string()))
}

/// What a notification says; a notification that says nothing sensible gets no answer.
fn read<T: DeserializeOwned>(notification: Notification) -> Option<T> {
    serde_json::from_value(notification.params).ok()
}

fn failed(id: RequestId, code: ErrorCode, why: String) -> Response {
    Response::new_err(id, code as i32, why)
}
