//! A FITS header as an ordered list of cards, with typed access that names keyword and value when it fails.

use serde::{Deserialize, Serialize};

/// The value of a card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// `T` or `F`.
    Logical(bool),
    /// An integer that fits 64 bits.
    Integer(i64),
    /// A finite real number.
    Real(f64),
    /// A character string without its trailing blanks.
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Logical(true) => f.write_str("T"),
            Value::Logical(false) => f.write_str("F"),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Real(number) => write!(f, "{number}"),
            Value::Text(text) => f.write_str(text),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Logical(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Integer(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Real(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::Text(value.to_string())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

/// One keyword record. ESO hierarchical keywords are written without the word `HIERARCH`: `ESO DPR CATG`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Keyword as people say it, upper case.
    pub keyword: String,
    /// `None` for a card without a value (COMMENT, HISTORY, undefined value).
    pub value: Option<Value>,
    /// Text after the slash, or the text of a commentary card.
    pub comment: String,
}

/// Why a keyword could not be used. The text names the keyword, what was found and what was expected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HeaderError {
    /// The keyword is not in the header, or has no value.
    #[error("keyword {keyword} is missing")]
    Missing {
        /// The keyword that was looked for.
        keyword: String,
    },
    /// The value has another type than the keyword must have.
    #[error("keyword {keyword} has the value {found:?}, expected {expected}")]
    WrongType {
        /// The keyword.
        keyword: String,
        /// What stands there, as text.
        found: String,
        /// What should stand there, for example "a number".
        expected: &'static str,
    },
}

/// An ordered list of cards. Look-up by keyword takes the first card of that name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    cards: Vec<Card>,
}

impl Header {
    /// A header without cards.
    pub fn new() -> Self {
        Self::default()
    }

    /// All cards in file order.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// The value of the first card with this keyword, if it has one.
    pub fn get(&self, keyword: &str) -> Option<&Value> {
        self.cards.iter().find(|card| card.keyword == keyword).and_then(|card| card.value.as_ref())
    }

    /// True when the keyword is present with a value.
    pub fn contains(&self, keyword: &str) -> bool {
        self.get(keyword).is_some()
    }

    /// The string value, or an error that names what was found.
    pub fn text(&self, keyword: &str) -> Result<&str, HeaderError> {
        match self.required(keyword)? {
            Value::Text(text) => Ok(text),
            other => Err(wrong_type(keyword, other, "a string")),
        }
    }

    /// The number, integer or real.
    pub fn real(&self, keyword: &str) -> Result<f64, HeaderError> {
        match self.required(keyword)? {
            Value::Real(number) => Ok(*number),
            Value::Integer(number) => Ok(*number as f64),
            other => Err(wrong_type(keyword, other, "a number")),
        }
    }

    /// The integer. A real number without a fraction is accepted, since instrument software writes those.
    pub fn integer(&self, keyword: &str) -> Result<i64, HeaderError> {
        match self.required(keyword)? {
            Value::Integer(number) => Ok(*number),
            Value::Real(number) if number.fract() == 0.0 && number.abs() < 9.0e15 => Ok(*number as i64),
            other => Err(wrong_type(keyword, other, "an integer")),
        }
    }

    /// The logical value.
    pub fn logical(&self, keyword: &str) -> Result<bool, HeaderError> {
        match self.required(keyword)? {
            Value::Logical(value) => Ok(*value),
            other => Err(wrong_type(keyword, other, "T or F")),
        }
    }

    /// Replace the value of a keyword, or append a card when there is none. No duplicate cards can come about.
    pub fn set(&mut self, keyword: &str, value: impl Into<Value>, comment: &str) {
        self.replace(Card { keyword: keyword.to_string(), value: Some(value.into()), comment: comment.to_string() });
    }

    /// Put a card in the place of the first one with its keyword, or append it.
    pub fn replace(&mut self, card: Card) {
        match self.cards.iter_mut().find(|present| present.keyword == card.keyword) {
            Some(present) => *present = card,
            None => self.cards.push(card),
        }
    }

    /// Append a card as it is (for COMMENT, HISTORY and for reading files).
    pub fn push(&mut self, card: Card) {
        self.cards.push(card);
    }

    /// The card that was appended last; for continued strings.
    pub(super) fn last_mut(&mut self) -> Option<&mut Card> {
        self.cards.last_mut()
    }

    /// Remove every card with this keyword.
    pub fn remove(&mut self, keyword: &str) {
        self.cards.retain(|card| card.keyword != keyword);
    }

    fn required(&self, keyword: &str) -> Result<&Value, HeaderError> {
        self.get(keyword).ok_or_else(|| HeaderError::Missing { keyword: keyword.to_string() })
    }
}

fn wrong_type(keyword: &str, found: &Value, expected: &'static str) -> HeaderError {
    HeaderError::WrongType { keyword: keyword.to_string(), found: found.to_string(), expected }
}
