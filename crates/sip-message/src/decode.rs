//! Headers decoded on demand (RFC 3261 section 20).

use crate::decoded::{AddressPlaces, ViaPlaces};
use crate::{
    AuthParams, ContactValue, Header, HeaderName, Message, Method, NameAddr, Params, Reject, Uri, Value, Via, index,
    lex,
};

/// A `CSeq` value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CSeq<'a> {
    /// Sequence number, below 2^31 (RFC 3261 section 8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
    /// The method as written.
    pub method_text: &'a [u8],
}

/// A `RAck` value (RFC 3262 section 7.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RAck<'a> {
    /// The `RSeq` of the provisional response.
    pub response: u32,
    /// The `CSeq` of the request.
    pub cseq: CSeq<'a>,
}

impl Message {
    /// The first `Via` value.
    ///
    /// # Errors
    /// [`Reject::Missing`] or [`Reject::Header`].
    pub fn top_via(&self) -> Result<Via<'_>, Reject> {
        let decode = || {
            let value = self.values_of(HeaderName::Via).next()?;
            let via = Via::parse_at(value.text, value.span.start);
            Some(via.map(|via| ViaPlaces::of(&via, self.bytes())).map_err(|offset| offset as u32))
        };
        match self.decoded.top_via.get_or_init(decode) {
            Some(Ok(places)) => Ok(places.read(self.bytes())),
            Some(Err(offset)) => Err(Reject::Header { name: HeaderName::Via, offset: *offset as usize }),
            None => Err(Reject::Missing(HeaderName::Via)),
        }
    }

    /// Every `Via` value, from the top.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, Reject>> {
        self.values_of(HeaderName::Via).enumerate().map(|(place, value)| {
            if place == 0 {
                return self.top_via();
            }
            Via::parse_at(value.text, value.span.start)
                .map_err(|offset| Reject::Header { name: HeaderName::Via, offset })
        })
    }

    /// The `From` address.
    ///
    /// # Errors
    /// [`Reject::Missing`] or [`Reject::Header`].
    pub fn from(&self) -> Result<NameAddr<'_>, Reject> {
        self.address(HeaderName::From)
    }

    /// The `To` address.
    ///
    /// # Errors
    /// [`Reject::Missing`] or [`Reject::Header`].
    pub fn to(&self) -> Result<NameAddr<'_>, Reject> {
        self.address(HeaderName::To)
    }

    /// The tag of `From`.
    pub fn from_tag(&self) -> Option<&[u8]> {
        self.from().ok()?.tag()
    }

    /// The tag of `To`.
    pub fn to_tag(&self) -> Option<&[u8]> {
        self.to().ok()?.tag()
    }

    /// The `Call-ID`; empty when absent.
    pub fn call_id(&self) -> &[u8] {
        self.value(HeaderName::CallId).unwrap_or_default()
    }

    /// The `CSeq`.
    ///
    /// # Errors
    /// [`Reject::Missing`] or [`Reject::Header`].
    pub fn cseq(&self) -> Result<CSeq<'_>, Reject> {
        let header = self.header(HeaderName::CSeq).ok_or(Reject::Missing(HeaderName::CSeq))?;
        let malformed = Reject::Header { name: HeaderName::CSeq, offset: header.value_span.start as usize };
        parse_cseq(header.value).ok_or(malformed)
    }

    /// `Max-Forwards`; `None` when absent, as in requests of RFC 2543.
    ///
    /// # Errors
    /// [`Reject::Header`] when it is not a number from 0 to 255 (RFC 3261 section 20.22).
    pub fn max_forwards(&self) -> Result<Option<u8>, Reject> {
        let Some(header) = self.header(HeaderName::MaxForwards) else {
            return Ok(None);
        };
        let value = lex::number(header.value).and_then(|value| u8::try_from(value).ok());
        let offset = header.value_span.start as usize;
        value.map(Some).ok_or(Reject::Header { name: HeaderName::MaxForwards, offset })
    }

    /// Every `Contact` value.
    pub fn contacts(&self) -> impl Iterator<Item = Result<ContactValue<'_>, Reject>> {
        self.values_of(HeaderName::Contact).map(|value| match value.text {
            b"*" => Ok(ContactValue::Star),
            _ => address_of(HeaderName::Contact, value).map(ContactValue::Address),
        })
    }

    /// Every `Route` value.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Reject>> {
        self.addresses(HeaderName::Route)
    }

    /// Every `Record-Route` value.
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Reject>> {
        self.addresses(HeaderName::RecordRoute)
    }

    /// Every `Path` value (RFC 3327).
    pub fn paths(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Reject>> {
        self.addresses(HeaderName::Path)
    }

    /// Every value of a header that lists addresses.
    pub fn addresses(&self, name: HeaderName) -> impl Iterator<Item = Result<NameAddr<'_>, Reject>> {
        self.values_of(name).map(move |value| address_of(name, value))
    }

    /// The address of a header that holds one: `From`, `To`, `Reply-To`, `Refer-To`, ...
    ///
    /// # Errors
    /// [`Reject::Missing`] or [`Reject::Header`].
    pub fn address(&self, name: HeaderName) -> Result<NameAddr<'_>, Reject> {
        let header = self.header(name).ok_or(Reject::Missing(name))?;
        let kept = match name {
            HeaderName::From => &self.decoded.from,
            HeaderName::To => &self.decoded.to,
            _ => return decode_address(&header).map_err(|offset| Reject::Header { name, offset }),
        };
        let decode = || {
            let address = decode_address(&header);
            address.map(|address| AddressPlaces::of(&address, self.bytes())).map_err(|offset| offset as u32)
        };
        match kept.get_or_init(decode) {
            Ok(places) => Ok(places.read(self.bytes())),
            Err(offset) => Err(Reject::Header { name, offset: *offset as usize }),
        }
    }

    /// Every value of a header that lists values separated by commas, over all its lines.
    pub fn values_of(&self, name: HeaderName) -> impl Iterator<Item = Value<'_>> {
        self.headers_named(name).flat_map(|header| header.values())
    }

    /// The value of the first header of that name, folds still inside.
    pub fn value(&self, name: HeaderName) -> Option<&[u8]> {
        self.header(name).map(|header| header.value)
    }

    /// The option tags or other tokens of a list such as `Require`, `Supported`, `Allow`, in order.
    pub fn tokens(&self, name: HeaderName) -> impl Iterator<Item = &[u8]> {
        self.values_of(name).map(|value| value.text).filter(|text| !text.is_empty())
    }

    /// Whether a list such as `Supported` names `token`, in any case.
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.tokens(name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// `Expires` in seconds; larger than 2^32-1 counts as that (RFC 3261 section 20.19). `None` when
    /// absent or not a number, in which case the default applies (section 10.2.1.1).
    pub fn expires(&self) -> Option<u32> {
        self.seconds(HeaderName::Expires)
    }

    /// `Min-Expires` in seconds.
    pub fn min_expires(&self) -> Option<u32> {
        self.seconds(HeaderName::MinExpires)
    }

    /// The number that a header begins with: `Expires`, `Min-Expires`, `Session-Expires`, `Retry-After`.
    pub fn seconds(&self, name: HeaderName) -> Option<u32> {
        let value = self.value(name)?;
        let end = value.iter().position(|&byte| !lex::is_digit(byte)).unwrap_or(value.len());
        let is_whole = value.get(end).is_none_or(|&byte| matches!(byte, b';' | b'(') || lex::is_lws(byte));
        let value = lex::saturating_number(&value[..end]).filter(|_| is_whole)?;
        Some(u32::try_from(value).unwrap_or(u32::MAX))
    }

    /// `Content-Length` as written; `None` when absent or malformed.
    pub fn content_length(&self) -> Option<usize> {
        self.value(HeaderName::ContentLength).and_then(index::content_length)
    }

    /// Media type of the body as written (`application/sdp`), parameters apart.
    pub fn content_type(&self) -> Option<(&[u8], Params<'_>)> {
        let value = self.value(HeaderName::ContentType)?;
        Some(split_params(value))
    }

    /// `Event` package and its parameters (RFC 6665).
    pub fn event(&self) -> Option<(&[u8], Params<'_>)> {
        self.value(HeaderName::Event).map(split_params)
    }

    /// Credentials or challenges of one of the four authentication headers, one per line.
    pub fn credentials(&self, name: HeaderName) -> impl Iterator<Item = AuthParams<'_>> {
        self.headers_named(name).filter_map(|header| AuthParams::parse(header.value))
    }

    /// `RAck` (RFC 3262).
    pub fn rack(&self) -> Option<RAck<'_>> {
        let value = self.value(HeaderName::RAck)?;
        let end = value.iter().position(|&byte| lex::is_lws(byte))?;
        let cseq = parse_cseq(lex::trimmed(&value[end..]))?;
        Some(RAck { response: lex::number(&value[..end])?, cseq })
    }

    /// The Request-URI taken apart; offsets in the error count from the start of the message.
    ///
    /// # Errors
    /// [`Reject::Uri`].
    pub fn parsed_request_uri(&self) -> Result<Uri<'_>, Reject> {
        let start = self.request_uri_span().start as usize;
        Uri::parse(self.request_uri()).map_err(|reject| Reject::Uri { offset: start + reject.offset() })
    }
}

fn decode_address<'a>(header: &Header<'a>) -> Result<NameAddr<'a>, usize> {
    NameAddr::parse_at(header.value, header.value_span.start)
}

fn address_of<'a>(name: HeaderName, value: Value<'a>) -> Result<NameAddr<'a>, Reject> {
    NameAddr::parse_at(value.text, value.span.start).map_err(|offset| Reject::Header { name, offset })
}

/// `1*DIGIT LWS Method`.
fn parse_cseq(value: &[u8]) -> Option<CSeq<'_>> {
    let end = value.iter().position(|&byte| lex::is_lws(byte))?;
    let method_text = lex::trimmed(&value[end..]);
    let number = lex::number(&value[..end]).filter(|&number| number < 1 << 31)?;
    lex::is_token(method_text).then(|| CSeq { number, method: Method::from_token(method_text), method_text })
}

fn split_params(value: &[u8]) -> (&[u8], Params<'_>) {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    (lex::trimmed(&value[..end]), Params::parse(&value[end..]))
}
