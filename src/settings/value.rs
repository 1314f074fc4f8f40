//! A value as it stood in its source, before a setting has read it: its form, not its meaning.

use std::fmt;

use toml::de::DeValue;

/// A value and the line of the file that it stood on.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) form: Form,
    /// 0: from no file.
    pub(super) line: usize,
}

/// What can be told of a value without knowing its setting.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Text(String),
    Integer(i128),
    Float(f64),
    Switch(bool),
    List(Vec<Raw>),
    /// No setting takes it (a table, a date); only its name, for the message.
    Other(&'static str),
}

/// Why a setting refuses a value: every fault of it.
#[derive(Debug, PartialEq)]
pub(super) struct Refused(pub(super) Vec<Fault>);

/// One thing that is wrong with a value.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) sentence: String,
    /// The value is written wrongly; else it is well written, and what it names is not there.
    pub(super) malformed: bool,
}

impl Raw {
    /// A value from the command line or the environment.
    pub(super) fn text(text: impl Into<String>) -> Raw {
        Raw { form: Form::Text(text.into()), line: 0 }
    }

    /// A repeated flag.
    pub(super) fn list(texts: impl Iterator<Item = String>) -> Raw {
        Raw { form: Form::List(texts.map(Raw::text).collect()), line: 0 }
    }

    /// A value of the table's own rows; they are checked by a test.
    pub(super) fn toml(text: &str) -> Raw {
        let value = DeValue::parse(text).expect("the table's defaults are TOML: a test parses them");
        Raw::from_toml(value.get_ref(), &|_| 0, 0)
    }

    /// `line_at` turns an offset of the file into its line.
    pub(super) fn from_toml(value: &DeValue<'_>, line_at: &dyn Fn(usize) -> usize, line: usize) -> Raw {
        let form = match value {
            DeValue::String(text) => Form::Text(text.to_string()),
            DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Form::Integer(number),
                Err(_) => Form::Other("a number that is far too large"),
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) => Form::Float(number),
                Err(_) => Form::Other("an unreadable number"),
            },
            DeValue::Boolean(switch) => Form::Switch(*switch),
            DeValue::Array(items) => Form::List(
                items
                    .iter()
                    .map(|item| Raw::from_toml(item.get_ref(), line_at, line_at(item.span().start)))
                    .collect(),
            ),
            DeValue::Datetime(_) => Form::Other("a date"),
            DeValue::Table(_) => Form::Other("a table"),
        };
        Raw { form, line }
    }

    /// The value is written wrongly: `expected a number, found "many"`.
    pub(super) fn expected(&self, what: impl fmt::Display) -> Refused {
        self.fault(format!("expected {what}, found {self}"), true)
    }

    /// The value is well written, and yet it cannot be.
    pub(super) fn refuse(&self, sentence: impl Into<String>) -> Refused {
        self.fault(sentence.into(), false)
    }

    fn fault(&self, sentence: String, malformed: bool) -> Refused {
        Refused(vec![Fault { line: self.line, sentence, malformed }])
    }
}

impl fmt::Display for Raw {
    /// As it would be written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Text(text) => write!(f, "\"{}\"", text.escape_debug()),
            Form::Integer(number) => write!(f, "{number}"),
            Form::Float(number) => write!(f, "{number:?}"),
            Form::Switch(switch) => write!(f, "{switch}"),
            Form::List(_) => f.write_str("a list"),
            Form::Other(name) => f.write_str(name),
        }
    }
}

/// Text as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
