//! What the application hands over, checked and turned into slices: an answer, fields, a notice. Not what may be
//! sent: statuses and bytes are the host's matter.

use std::ffi::c_void;
use std::{mem, slice};

use unirs_app::abi::{self, code};

use crate::app::host::Refusal;

/// An answer as the application made it: its pointers and lengths are sound, its contents are as they are.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// Of the response; anything that fits.
    pub status: u16,
    /// Empty: the standard phrase.
    pub reason: &'a [u8],
    fields: Fields<'a>,
    body: Body<'a>,
}

impl<'a> Answer<'a> {
    /// The header fields, in order.
    pub fn fields(&self) -> Fields<'a> {
        self.fields.clone()
    }

    /// The slices of the body, in order. Only in `respond`.
    pub fn body(&self) -> Body<'a> {
        self.body.clone()
    }

    /// The length of the body; saturates where the slices overlap so much that it cannot be.
    pub fn body_len(&self) -> u64 {
        self.body().fold(0, |sum, piece| sum.saturating_add(piece.len() as u64))
    }

    /// Reads `response`; `None` when it is no whole response of this version.
    ///
    /// # Safety
    ///
    /// `response` is null, or the application keeps it and what it names unchanged for `'a`.
    pub(super) unsafe fn read(response: *const abi::Response) -> Option<Answer<'a>> {
        if response.is_null() || !response.is_aligned() {
            return None;
        }
        // SAFETY: not null, aligned, and every response begins with its size.
        let size = unsafe { (*response).size };
        if (size as usize) < size_of::<abi::Response>() {
            return None;
        }
        // SAFETY: the application says that all of version 1 is there.
        let response = unsafe { &*response };
        Some(Answer {
            status: u16::try_from(response.status).ok()?,
            // SAFETY: the caller's promise, for what the response names.
            reason: unsafe { sound(response.reason.data, response.reason.len) }?,
            // SAFETY: as above.
            fields: unsafe { Fields::read(response.fields, response.field_count) }?,
            // SAFETY: as above.
            body: unsafe { Body::read(response.body, response.body_count) }?,
        })
    }

    /// Without its body, which only `respond` reads.
    pub(super) fn head_only(mut self) -> Answer<'a> {
        self.body = Body { pieces: [].iter() };
        self
    }
}

/// Header fields or trailers, in order: pairs of name and value.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    /// Each of these was found sound.
    fields: slice::Iter<'a, abi::Field>,
}

impl<'a> Fields<'a> {
    /// Reads `count` fields; `None` when one of them is no slice.
    ///
    /// # Safety
    ///
    /// The application keeps the fields and what they name unchanged for `'a`.
    #[inline]
    pub(super) unsafe fn read(fields: *const abi::Field, count: usize) -> Option<Fields<'a>> {
        // SAFETY: the caller's promise.
        let fields = unsafe { sound(fields, count) }?;
        fields.iter().all(|field| is_sound(&field.name) && is_sound(&field.value)).then_some(())?;
        Some(Fields { fields: fields.iter() })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.fields.next()?;
        // SAFETY: `read` has found it sound, for `'a`.
        let name = unsafe { view(&field.name) };
        // SAFETY: as above.
        let value = unsafe { view(&field.value) };
        Some((name, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fields.size_hint()
    }
}

impl ExactSizeIterator for Fields<'_> {}

/// The slices of a body, in order.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    /// Each of these was found sound.
    pieces: slice::Iter<'a, abi::Bytes>,
}

impl<'a> Body<'a> {
    /// # Safety
    ///
    /// The application keeps the pieces and what they name unchanged for `'a`.
    unsafe fn read(pieces: *const abi::Bytes, count: usize) -> Option<Body<'a>> {
        // SAFETY: the caller's promise.
        let pieces = unsafe { sound(pieces, count) }?;
        pieces.iter().all(is_sound).then(|| Body { pieces: pieces.iter() })
    }
}

impl<'a> Iterator for Body<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: `read` has found it sound, for `'a`.
        self.pieces.next().map(|piece| unsafe { view(piece) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.pieces.size_hint()
    }
}

impl ExactSizeIterator for Body<'_> {}

/// Whom to tell that an answer is over: told once, on any thread, at the latest when it is dropped.
pub struct Notice {
    function: unsafe extern "C" fn(argument: *mut c_void, result: i32),
    argument: *mut c_void,
}

// SAFETY: unirs_app.h: a notice is given on any thread; the argument is the application's to protect.
unsafe impl Send for Notice {}

impl Notice {
    pub(super) fn new(
        function: unsafe extern "C" fn(argument: *mut c_void, result: i32),
        argument: *mut c_void,
    ) -> Notice {
        Notice { function, argument }
    }

    /// The last byte has gone, or why it never will.
    pub fn tell(self, result: Result<(), Refusal>) {
        self.give(result.map_or_else(Refusal::code, |()| code::OK));
        mem::forget(self);
    }

    fn give(&self, result: i32) {
        // SAFETY: the application gave function and argument together, for one call.
        unsafe { (self.function)(self.argument, result) };
    }
}

impl Drop for Notice {
    /// Whatever became of the exchange, nobody will say more about it.
    fn drop(&mut self) {
        self.give(code::GONE);
    }
}

/// The slice at `data`; `None` when there can be none: null with a length, not aligned, or longer than an object
/// may be. Null without a length is empty.
///
/// # Safety
///
/// If it is a slice by these rules, it is one in truth, unchanged for `'a`.
pub(super) unsafe fn sound<'a, E>(data: *const E, len: usize) -> Option<&'a [E]> {
    if len == 0 {
        return Some(&[]);
    }
    if data.is_null() || !data.is_aligned() || len > isize::MAX as usize / size_of::<E>() {
        return None;
    }
    // SAFETY: checked above, but for the caller's promise.
    Some(unsafe { slice::from_raw_parts(data, len) })
}

fn is_sound(bytes: &abi::Bytes) -> bool {
    bytes.len == 0 || (!bytes.data.is_null() && bytes.len <= isize::MAX as usize)
}

/// # Safety
///
/// [`is_sound`] has seen these bytes, and they stay unchanged for `'a`.
unsafe fn view<'a>(bytes: &abi::Bytes) -> &'a [u8] {
    if bytes.len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(bytes.data, bytes.len) }
}
