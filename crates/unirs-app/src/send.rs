//! How an answer of the application goes to the host. Not the rules of an answer: the host enforces them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::IntoRawFd;

use smallvec::SmallVec;

use crate::error::refusal_in;
use crate::host::{Exchange, Head, lend_field};
use crate::response::{Content, Write};
use crate::{Error, Refusal, Request, Response, Writer, abi, log};

/// How many header fields are passed without an allocation.
const FEW_FIELDS: usize = 8;

/// Sends an answer. What goes wrong is logged here; `Err` says that the answer is missing or unfinished.
pub(crate) fn send(mut response: Response, request: &mut Request) -> Result<(), ()> {
    if let Some(error) = response.error() {
        log_error(request, error);
    }
    answer(&mut response, request).map_err(|error| match refusal_in(error.cause()) {
        // Clients go; that is not the application's fault.
        Some(Refusal::Gone) => log::debug!("{request:?}: {error}"),
        Some(Refusal::TimedOut) => log::info!("{request:?}: {error}"),
        _ => log::error!("{request:?}: {error}"),
    })
}

fn log_error(request: &Request, error: &Error) {
    match error.status_code() {
        ..500 => log::debug!("{request:?}: {error}"),
        500.. => log::error!("{request:?}: {error}"),
    }
}

fn answer(response: &mut Response, request: &mut Request) -> Result<(), Error> {
    let exchange = *request.exchange();
    if let Some(notice) = response.notice.take() {
        exchange.on_finished(notice)?;
    }
    let body = std::mem::replace(&mut response.body, Content::Answered);
    with_head(response, |head| match body {
        Content::Whole(body) => Ok(exchange.respond(head, body.as_slice())?),
        Content::File { file, offset, length } => send_file(exchange, head, file, offset, length),
        Content::Stream { write, length } => stream(request, head, write, length),
        Content::Answered => Ok(()),
    })
}

/// Lends the answer's head: from the stack when its fields are few.
fn with_head<R>(response: &Response, send: impl FnOnce(Head<'_>) -> R) -> R {
    let mut fields = SmallVec::<[abi::Field; FEW_FIELDS]>::new();
    fields.extend(response.headers().map(|(name, value)| lend_field(name.as_bytes(), value)));
    send(Head { status: response.status, reason: &response.reason, fields: &fields })
}

fn send_file(
    exchange: Exchange,
    head: Head<'_>,
    mut file: File,
    offset: u64,
    length: Option<u64>,
) -> Result<(), Error> {
    let length = match length {
        Some(length) => length,
        None => file.metadata()?.len().saturating_sub(offset),
    };
    if exchange.can_respond_file() {
        return Ok(exchange.respond_file(head, file.into_raw_fd(), offset, length)?);
    }
    // A host that cannot send files is given their bytes.
    exchange.begin(head, Some(length))?;
    let mut writer = Writer::new(exchange);
    file.seek(SeekFrom::Start(offset))?;
    io::copy(&mut file.take(length), &mut writer)?;
    Ok(writer.finish()?)
}

fn stream(request: &mut Request, head: Head<'_>, write: Write, length: Option<u64>) -> Result<(), Error> {
    request.exchange().begin(head, length)?;
    let mut writer = Writer::new(*request.exchange());
    write(request, &mut writer)?;
    Ok(writer.finish()?)
}
