//! The rules of an exchange, as a host keeps them, for one request of a test. Not a network: an answer is put together in
//! memory.

use std::ffi::c_void;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::slice;

use super::{Answer, Call};
use crate::abi::{self, code};

/// What the application gets: an exchange of the interface, followed by what is ours.
#[repr(C)]
pub(super) struct Exchange<'c> {
    pub(super) head: abi::Exchange,
    pub(super) call: &'c Call<'c>,
    /// How many bytes of the body were read.
    pub(super) read: usize,
    pub(super) stage: Stage,
    pub(super) answer: Answer,
    pub(super) notice: Option<(Notice, *mut c_void)>,
}

pub(super) type Notice = unsafe extern "C" fn(argument: *mut c_void, result: i32);

/// How far the answer is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing was answered.
    Open,
    /// Begun; so many bytes are missing, where that is known.
    Begun(Option<u64>),
    /// Finished.
    Done,
    /// Broken: more was written than declared, or the client has gone.
    Broken,
}

/// What a rule says: yes, or a code.
pub(super) type Ruling<T = ()> = Result<T, i32>;

impl<'c> Exchange<'c> {
    pub(super) fn new(call: &'c Call<'c>, request: &'c abi::Request) -> Exchange<'c> {
        let head = abi::Exchange { size: size_of::<abi::Exchange>() as u32, reserved: 0, request };
        Exchange { head, call, read: 0, stage: Stage::Open, answer: Answer::default(), notice: None }
    }

    /// The answer after the call, with the 500 of a host where there is none.
    pub(super) fn into_answer(mut self, failed: bool) -> Answer {
        self.answer.complete = !failed && self.stage == Stage::Done;
        if self.stage == Stage::Open && !self.call.gone {
            self.answer.status = 500;
            self.answer.complete = true;
            self.answer.from_host = true;
        }
        if let Some((notice, argument)) = self.notice.take() {
            let result = if self.answer.complete { code::OK } else { code::GONE };
            // SAFETY: the application's function and its argument; the only call with it.
            unsafe { notice(argument, result) };
        }
        self.answer
    }

    pub(super) fn open(&self) -> Ruling {
        match self.stage {
            Stage::Open => self.client_is_there(),
            Stage::Begun(_) | Stage::Done | Stage::Broken => Err(code::ANSWERED),
        }
    }

    pub(super) fn begun(&self) -> Ruling<Option<u64>> {
        match self.stage {
            Stage::Begun(left) => self.client_is_there().map(|()| left),
            Stage::Open => Err(code::NOT_BEGUN),
            Stage::Done | Stage::Broken => Err(code::ANSWERED),
        }
    }

    fn client_is_there(&self) -> Ruling {
        if self.call.gone { Err(code::GONE) } else { Ok(()) }
    }

    /// Takes over the head of an answer; its status is not 0 from then on.
    pub(super) fn set_head(&mut self, response: &abi::Response) -> Ruling {
        // SAFETY: the application lends them for the call.
        let headers = unsafe { fields(response.fields, response.field_count) }?;
        // SAFETY: as above.
        let reason = unsafe { bytes(response.reason) };
        let status = u16::try_from(response.status).map_err(|_| code::INVALID)?;
        if !(200..=599).contains(&status) || reason.iter().any(u8::is_ascii_control) {
            return Err(code::INVALID);
        }
        let reason = String::from_utf8_lossy(reason).into_owned();
        (self.answer.status, self.answer.reason, self.answer.headers) = (status, reason, headers);
        Ok(())
    }

    /// Keeps bytes of the body, but those that a client would not see.
    pub(super) fn put(&mut self, data: &[u8]) {
        if self.call.method != "HEAD" && !matches!(self.answer.status, 204 | 304) {
            self.answer.body.extend_from_slice(data);
        }
    }

    pub(super) fn read_body(&mut self, buffer: &mut [u8]) -> Ruling<usize> {
        let rest = &self.call.body[self.read..];
        if rest.is_empty() {
            return match (self.call.gone, self.call.broken) {
                (true, _) => Err(code::GONE),
                (false, Some(refusal)) => Err(refusal.code()),
                (false, None) => Ok(0),
            };
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Ok(count)
    }

    pub(super) fn answer_file(
        &mut self,
        response: &abi::Response,
        file: File,
        offset: u64,
        length: u64,
    ) -> Ruling {
        self.open()?;
        let mut data = vec![0; usize::try_from(length).map_err(|_| code::INVALID)?];
        file.read_exact_at(&mut data, offset).map_err(|_| code::INVALID)?;
        self.set_head(response)?;
        self.put(&data);
        self.stage = Stage::Done;
        Ok(())
    }

    pub(super) fn write_more(&mut self, data: &[u8]) -> Ruling {
        let left = match self.begun()? {
            Some(left) => match left.checked_sub(data.len() as u64) {
                Some(left) => Some(left),
                None => {
                    self.stage = Stage::Broken;
                    return Err(code::LENGTH);
                }
            },
            None => None,
        };
        self.stage = Stage::Begun(left);
        self.put(data);
        Ok(())
    }

    pub(super) fn end(&mut self, trailers: Vec<(String, Vec<u8>)>) -> Ruling {
        match self.begun()? {
            Some(1..) => {
                self.stage = Stage::Broken;
                Err(code::LENGTH)
            }
            Some(0) | None => {
                self.stage = Stage::Done;
                self.answer.trailers = trailers;
                Ok(())
            }
        }
    }
}

/// A copy of header fields, if they can be sent.
///
/// # Safety
/// The application lends `count` fields and their bytes for `'a`.
pub(super) unsafe fn fields(fields: *const abi::Field, count: usize) -> Ruling<Vec<(String, Vec<u8>)>> {
    let mut copies = Vec::new();
    for at in 0..count {
        // SAFETY: the caller's.
        let field = unsafe { &*fields.add(at) };
        // SAFETY: the caller's.
        let name = unsafe { bytes(field.name) };
        // SAFETY: the caller's.
        let value = unsafe { bytes(field.value) };
        if !is_token(name) || value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(code::INVALID);
        }
        copies.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
    }
    Ok(copies)
}

/// Whether a name is a token by RFC 9110 §5.6.2.
fn is_token(name: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_tchar)
}

/// # Safety
/// The application lends the bytes for `'a`.
pub(super) unsafe fn bytes<'a>(bytes: abi::Bytes) -> &'a [u8] {
    // SAFETY: the caller's.
    unsafe { raw_bytes(bytes.data, bytes.len) }
}

/// # Safety
/// The application lends the bytes for `'a`.
pub(super) unsafe fn raw_bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if data.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: the caller's.
    unsafe { slice::from_raw_parts(data, len) }
}
