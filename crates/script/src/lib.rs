//! The routing language: lexer, parser, checker, compiler, virtual machine.
#![forbid(unsafe_code)]
