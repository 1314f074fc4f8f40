//! An answer, as an application builds it. Not how it is sent: see `send`.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;

use crate::host::Notice;
use crate::{Bytes, Error, Refusal, Request, Writer, status};

/// An answer: a status, header fields and a body.
///
/// ```
/// use unirs_app::Response;
///
/// Response::text("Hello, World!\n");
/// Response::html("<h1>Hello</h1>").header("cache-control", "max-age=60");
/// Response::new(204);
/// Response::redirect("/login");
/// Response::text("no such page\n").status(404);
/// ```
///
/// With the feature `serde` (on by default) there is [`Response::json`]. The server adds `Date`, `Server`, the framing of
/// the body and `Connection`; an application does not set `Content-Length`. Names and values of fields are checked by the
/// server: one with a line break in it is a 500 and a line in the log, never a second header.
pub struct Response {
    pub(crate) status: u16,
    /// Empty: the standard phrase.
    pub(crate) reason: Cow<'static, str>,
    /// Apart from the other fields, so that a small answer needs no list.
    pub(crate) content_type: Option<Bytes>,
    pub(crate) fields: Vec<(Cow<'static, str>, Bytes)>,
    pub(crate) body: Content,
    /// What went wrong, for the log.
    pub(crate) error: Option<Box<Error>>,
    /// Who wants to know that it has gone.
    pub(crate) notice: Option<Notice>,
}

/// The body of an answer.
pub(crate) enum Content {
    /// Bytes in memory.
    Whole(Bytes),
    /// A part of a file; without a length, up to its end.
    File { file: File, offset: u64, length: Option<u64> },
    /// Written piece by piece.
    Stream { write: Write, length: Option<u64> },
    /// The application has answered by itself.
    Answered,
}

/// Writes a streamed body.
pub(crate) type Write = Box<dyn FnOnce(&mut Request, &mut Writer) -> Result<(), Error>>;

impl Response {
    /// An answer with this status and an empty body.
    pub fn new(status: u16) -> Response {
        Response::with_content(status, None, Content::Whole(Bytes::EMPTY))
    }

    /// Plain text in UTF-8. A literal costs no allocation.
    pub fn text(text: impl Into<Bytes>) -> Response {
        Response::whole("text/plain; charset=utf-8", text)
    }

    /// A page in UTF-8.
    pub fn html(page: impl Into<Bytes>) -> Response {
        Response::whole("text/html; charset=utf-8", page)
    }

    /// Bytes of any kind; say which with [`content_type`](Response::content_type).
    pub fn bytes(bytes: impl Into<Bytes>) -> Response {
        Response::whole("application/octet-stream", bytes)
    }

    /// A value as JSON. One that cannot be written as JSON is a 500.
    ///
    /// ```
    /// # use unirs_app::Response;
    /// #[derive(serde::Serialize)]
    /// struct User { id: u64, name: String }
    ///
    /// let user = User { id: 7, name: "Ada".into() };
    /// Response::json(&user).status(201).header("Location", "/api/users/7");
    /// ```
    #[cfg(feature = "serde")]
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Response {
        match serde_json::to_vec(value) {
            Ok(json) => Response::json_text(json),
            Err(error) => Error::new(error).into_response(),
        }
    }

    /// Text that is JSON already.
    pub fn json_text(json: impl Into<Bytes>) -> Response {
        Response::whole("application/json", json)
    }

    /// A short text that says what the status means: `404 Not Found`.
    pub fn plain_status(status: u16) -> Response {
        Response::text(format!("{status} {}\n", status::phrase(status))).status(status)
    }

    /// Sends the client elsewhere with a 303; `.status(308)` and its like say it otherwise.
    pub fn redirect(location: impl Into<Bytes>) -> Response {
        Response::new(303).header("Location", location)
    }

    /// The rest of a file, sent by the kernel without a copy through the application; a regular file. Say what it is with
    /// [`content_type`](Response::content_type), and see [`range`](Response::range).
    ///
    /// ```no_run
    /// # use unirs_app::{Error, OrStatus, Response};
    /// # fn f() -> Result<Response, Error> {
    /// let file = std::fs::File::open("report.pdf").or_status(404)?;
    /// Ok(Response::file(file).content_type("application/pdf"))
    /// # }
    /// ```
    pub fn file(file: File) -> Response {
        let content = Content::File { file, offset: 0, length: None };
        Response::with_content(200, Some("application/octet-stream".into()), content)
    }

    /// A body that is written piece by piece, after [`App::call`](crate::App::call) has returned this answer. It is sent
    /// chunked unless its [`length`](Response::length) is declared.
    ///
    /// ```
    /// # use unirs_app::Response;
    /// use std::io::Write;
    ///
    /// Response::stream(|writer| {
    ///     for n in 1..=3 {
    ///         writeln!(writer, "line {n}")?;
    ///     }
    ///     Ok(())
    /// });
    /// ```
    ///
    /// An error or a panic in it leaves the answer unfinished, and the client sees a connection that breaks off: the status
    /// has gone already.
    pub fn stream(write: impl FnOnce(&mut Writer) -> Result<(), Error> + 'static) -> Response {
        Response::stream_with(|_, writer| write(writer))
    }

    /// As [`stream`](Response::stream), for what is written while the request is still read.
    ///
    /// ```
    /// # use unirs_app::Response;
    /// Response::stream_with(|request, writer| {
    ///     std::io::copy(&mut request.body(), writer)?;
    ///     Ok(())
    /// });
    /// ```
    pub fn stream_with(
        write: impl FnOnce(&mut Request, &mut Writer) -> Result<(), Error> + 'static,
    ) -> Response {
        let content = Content::Stream { write: Box::new(write), length: None };
        Response::with_content(200, Some("text/plain; charset=utf-8".into()), content)
    }

    /// Says that this request was answered by other means: through [`Request::raw_exchange`]. Where it was not, the server
    /// answers with a 500.
    pub fn answered() -> Response {
        Response::with_content(200, None, Content::Answered)
    }

    /// The same answer with another status: 200 to 599.
    pub fn status(mut self, status: u16) -> Response {
        self.status = status;
        self
    }

    /// The same answer with a reason phrase of its own.
    pub fn reason(mut self, reason: impl Into<Cow<'static, str>>) -> Response {
        self.reason = reason.into();
        self
    }

    /// The same answer with one more header field. There is one `content-type`: naming it replaces it. Other names may come
    /// more than once, as `set-cookie` does.
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Response {
        let name = name.into();
        if name.eq_ignore_ascii_case("content-type") {
            return self.content_type(value);
        }
        self.fields.push((name, value.into()));
        self
    }

    /// The same answer with another `content-type`.
    pub fn content_type(mut self, value: impl Into<Bytes>) -> Response {
        self.content_type = Some(value.into());
        self
    }

    /// The same answer with a part of its file: `length` bytes from `offset`. For other bodies it does nothing.
    pub fn range(mut self, from: u64, bytes: u64) -> Response {
        if let Content::File { offset, length, .. } = &mut self.body {
            *offset = from;
            *length = Some(bytes);
        }
        self
    }

    /// The same answer with the declared length of its stream, in bytes. For other bodies it does nothing.
    pub fn length(mut self, bytes: u64) -> Response {
        if let Content::Stream { length, .. } = &mut self.body {
            *length = Some(bytes);
        }
        self
    }

    /// Asks to be told when the last byte has gone, or the connection has died before; on any thread, perhaps after the
    /// call has returned, and never when the server ends before.
    ///
    /// ```
    /// # use unirs_app::{Response, log};
    /// Response::text("your ticket\n").on_finished(|outcome| match outcome {
    ///     Ok(()) => log::info!("delivered"),
    ///     Err(refusal) => log::warn!("not delivered: {refusal}"),
    /// });
    /// ```
    pub fn on_finished(mut self, notice: impl FnOnce(Result<(), Refusal>) + Send + 'static) -> Response {
        self.notice = Some(Box::new(notice));
        self
    }

    /// Its status.
    pub fn status_code(&self) -> u16 {
        self.status
    }

    /// Its header fields, `content-type` first; without those that the server adds.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let content_type = self.content_type.iter().map(|value| ("Content-Type", value.as_slice()));
        content_type.chain(self.fields.iter().map(|(name, value)| (&**name, value.as_slice())))
    }

    /// Its body, where that is in memory.
    pub fn body(&self) -> Option<&[u8]> {
        match &self.body {
            Content::Whole(bytes) => Some(bytes.as_slice()),
            Content::File { .. } | Content::Stream { .. } | Content::Answered => None,
        }
    }

    /// The error that it was made from. The server's log will have it when the answer is sent, so middleware need not write
    /// it down; it may give the error another face.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_deref()
    }

    fn whole(content_type: &'static str, body: impl Into<Bytes>) -> Response {
        Response::with_content(200, Some(content_type.into()), Content::Whole(body.into()))
    }

    fn with_content(status: u16, content_type: Option<Bytes>, body: Content) -> Response {
        let (reason, fields) = (Cow::Borrowed(""), Vec::new());
        Response { status, reason, content_type, fields, body, error: None, notice: None }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.status, self.content_type)
    }
}

/// What can be an answer: a [`Response`], an [`Error`], a text, or a `Result` of such.
///
/// Functions of a [`Router`](crate::Router) may return any of them. In [`App::call`](crate::App::call), which returns a
/// `Response`, it is called by name:
///
/// ```
/// # use unirs_app::{App, Error, IntoResponse, Request, Response, Startup};
/// # struct Rates;
/// impl Rates {
///     fn answer(&self, request: &mut Request) -> Result<Response, Error> {
///         let text = std::fs::read_to_string("rates.txt")?;
///         Ok(Response::text(text))
///     }
/// }
///
/// impl App for Rates {
///     # fn start(_: &Startup) -> Result<Self, Error> { Ok(Rates) }
///     fn call(&self, request: &mut Request) -> Response {
///         self.answer(request).into_response()
///     }
/// }
/// ```
pub trait IntoResponse {
    /// The answer.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Response {
        Response::text(self)
    }
}

impl<T: IntoResponse, E: Into<Error>> IntoResponse for Result<T, E> {
    fn into_response(self) -> Response {
        match self {
            Ok(answer) => answer.into_response(),
            Err(error) => error.into().into_response(),
        }
    }
}

/// The status alone, and below 500 the error's text: what went wrong inside is for the log.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status_code();
        let mut response = match status {
            ..500 => Response::text(format!("{self}\n")).status(status),
            500.. => Response::plain_status(status),
        };
        response.error = Some(Box::new(self));
        response
    }
}
