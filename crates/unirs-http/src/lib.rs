//! HTTP/1.1 as bytes in and values out: heads, bodies, responses. No descriptor, no clock, no log, no setting.
//!
//! A connection gives what it received to a [`RequestHead`], then the body's bytes to a [`BodyDecoder`]; what it
//! sends it makes with [`encode_head`] and its neighbours. "Not yet" is `Ok(None)`; a refusal is a [`Reject`].
//!
//! ```
//! use unirs_http::{Framing, Limits, RequestHead};
//!
//! let mut received = b"POST /users?all HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\n\r\nhi".to_vec();
//! let mut head = RequestHead::new();
//! let length = head.parse(&mut received, &Limits::default())?.expect("the head is complete");
//!
//! assert_eq!(head.method(&received), b"POST");
//! assert_eq!(head.path(&received), b"/users");
//! assert_eq!(head.query(&received), Some(&b"all"[..]));
//! assert_eq!(head.find("Host", &received), Some(&b"example.com"[..]));
//! assert_eq!(head.framing(), Framing::Length(2));
//! assert_eq!(&received[length..], b"hi");
//! # Ok::<(), unirs_http::Reject>(())
//! ```
#![forbid(unsafe_code)]

pub mod field;

mod body;
mod chunk;
mod date;
mod fields;
mod framing;
mod head;
mod leniency;
mod page;
mod reject;
mod request_line;
mod response;
mod scan;
mod server;
mod status;
mod target;
mod word;

pub use body::{BodyDecoder, Step};
pub use date::Date;
pub use framing::Framing;
pub use head::{FieldView, RequestHead};
pub use leniency::{Leniency, Underscores};
pub use page::{ErrorPage, error_page};
pub use reject::Reject;
pub use request_line::Version;
pub use response::{
    BadResponse, BodyFraming, CHUNK_END, Connection, LAST_CHUNK, ResponseHead, declared_length,
    encode_chunk_head, encode_head, encode_interim, encode_trailers,
};
pub use scan::Limits;
pub use server::ServerField;
pub use status::{may_have_body, reason_phrase};
pub use target::percent_decode;
