//! The line with a chunk's size and extensions (RFC 9112 §7.1), byte by byte. Not the chunk: `body.rs`.

use super::field::is_token_byte;
use super::framing::MAX_LENGTH;
use super::reject::Reject;
use super::target::hex_value;

/// All extensions of a body together may have so many bytes: nobody sends any, but for those who want to make a server
/// read much and count little.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// More digits than 64 bits need, leading zeros included, are refused.
const MAX_DIGITS: u8 = 16;

/// A chunk's line so far.
#[derive(Debug, Default)]
pub(super) struct ChunkLine {
    place: Place,
    size: u64,
    digits: u8,
    /// Bytes of the line so far.
    length: usize,
}

/// What the last byte belonged to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Size,
    /// White space where only `;` may follow.
    SpaceAfterSize,
    /// `;`, or white space after it: a name must follow.
    Semicolon,
    Name,
    /// White space after a name: `=` or `;` must follow.
    SpaceAfterName,
    /// `=`, or white space after it: a value must follow.
    Equals,
    Token,
    Quoted,
    /// A backslash within quotes.
    Escape,
    /// The closing quote.
    Quote,
    /// White space after a value: `;` must follow.
    SpaceAfterValue,
    /// CR: LF must follow.
    Cr,
}

impl ChunkLine {
    /// How many bytes of `input` were read, and the chunk's size when the line is complete.
    pub(super) fn step(
        &mut self,
        input: &[u8],
        max: usize,
        extensions: &mut usize,
    ) -> Result<(usize, Option<u64>), Reject> {
        for (index, &byte) in input.iter().enumerate() {
            if self.place == Place::Cr {
                return if byte == b'\n' {
                    Ok((index + 1, Some(self.size)))
                } else {
                    Err(Reject::CHUNK_LINE_END)
                };
            }
            let place = self.next(byte)?;
            if place != Place::Cr {
                self.count(place, max, extensions)?;
            }
            self.place = place;
        }
        Ok((input.len(), None))
    }

    fn count(&mut self, place: Place, max: usize, extensions: &mut usize) -> Result<(), Reject> {
        self.length += 1;
        *extensions += usize::from(place != Place::Size);
        if self.length > max {
            return Err(Reject::CHUNK_LINE_TOO_LONG);
        }
        if *extensions > MAX_EXTENSIONS {
            return Err(Reject::CHUNK_EXTENSIONS_TOO_LARGE);
        }
        Ok(())
    }

    /// The place of `byte`, which follows one that belonged to `self.place`.
    fn next(&mut self, byte: u8) -> Result<Place, Reject> {
        let is_space = matches!(byte, b' ' | b'\t');
        let is_token = is_token_byte(byte);
        match (self.place, byte) {
            (Place::Size, _) => self.next_in_size(byte),
            (Place::SpaceAfterSize, _) if is_space => Ok(Place::SpaceAfterSize),
            (Place::SpaceAfterSize, b';') => Ok(Place::Semicolon),
            (Place::SpaceAfterSize, _) => Err(Reject::CHUNK_SIZE_SPACE),
            (Place::Semicolon, _) if is_space => Ok(Place::Semicolon),
            (Place::Semicolon | Place::Name, _) if is_token => Ok(Place::Name),
            (Place::Name | Place::SpaceAfterName, b'=') => Ok(Place::Equals),
            (Place::Name | Place::SpaceAfterName, _) if is_space => Ok(Place::SpaceAfterName),
            (Place::Equals, b'"') => Ok(Place::Quoted),
            (Place::Equals, _) if is_space => Ok(Place::Equals),
            (Place::Equals | Place::Token, _) if is_token => Ok(Place::Token),
            (Place::Quoted, b'"') => Ok(Place::Quote),
            (Place::Quoted, b'\\') => Ok(Place::Escape),
            (Place::Quoted | Place::Escape, _) if is_text(byte) => Ok(Place::Quoted),
            (Place::Token | Place::Quote | Place::SpaceAfterValue, _) if is_space => {
                Ok(Place::SpaceAfterValue)
            }
            (Place::Name | Place::SpaceAfterName | Place::Token, b';') => Ok(Place::Semicolon),
            (Place::Quote | Place::SpaceAfterValue, b';') => Ok(Place::Semicolon),
            (Place::Name | Place::Token | Place::Quote, b'\r') => Ok(Place::Cr),
            _ => Err(Reject::CHUNK_EXTENSION),
        }
    }

    fn next_in_size(&mut self, byte: u8) -> Result<Place, Reject> {
        if let Some(digit) = hex_value(byte) {
            return self.add_digit(digit);
        }
        match byte {
            b'\r' | b';' if self.digits == 0 => Err(Reject::CHUNK_SIZE_EMPTY),
            b'\r' => Ok(Place::Cr),
            b';' => Ok(Place::Semicolon),
            b' ' | b'\t' if self.digits > 0 => Ok(Place::SpaceAfterSize),
            b'\n' => Err(Reject::CHUNK_LINE_END),
            _ => Err(Reject::CHUNK_SIZE_DIGIT),
        }
    }

    fn add_digit(&mut self, digit: u8) -> Result<Place, Reject> {
        self.digits += 1;
        // The sum of a digit and of what was shifted by one cannot overflow 64 bits while there are 16 of them.
        self.size = self.size << 4 | u64::from(digit);
        if self.digits > MAX_DIGITS || self.size > MAX_LENGTH {
            return Err(Reject::CHUNK_SIZE_TOO_LARGE);
        }
        Ok(Place::Size)
    }
}

/// What may stand within quotes (RFC 9110 §5.6.4), but for the quote and the backslash.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
