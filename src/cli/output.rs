//! Standard output and standard error. A reader that has gone (`soxsd frames | head`) ends the command quietly.

use std::io::{ErrorKind, IsTerminal, Write};

use serde::Serialize;

use super::CliError;
use crate::fault::chain;

/// Write bytes to standard output.
pub fn write(bytes: &[u8]) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|source| match source.kind() {
        ErrorKind::BrokenPipe => CliError::ClosedPipe,
        _ => CliError::Io { what: "write to standard output".to_string(), source },
    })
}

/// Write text to standard output, ended by a line feed.
pub fn print(text: &str) -> Result<(), CliError> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    write(format!("{text}{end}").as_bytes())
}

/// Write a value to standard output as JSON.
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    print(&to_json(value, true)?)
}

/// Write a value to standard output as one line of JSON.
pub fn json_line(value: &impl Serialize) -> Result<(), CliError> {
    print(&to_json(value, false)?)
}

fn to_json(value: &impl Serialize, pretty: bool) -> Result<String, CliError> {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    text.map_err(|error| CliError::Io { what: "write JSON".to_string(), source: error.into() })
}

/// A remark beside the output, on standard error.
pub fn remark(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// An error in one line, and what to do in another.
pub fn complain(error: &CliError) {
    let (bold, plain) = if colour() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    remark(&format!("{bold}error:{plain} {}", one_line(&chain(error))));
    let hint = error.hint();
    if !hint.is_empty() {
        remark(&format!("hint: {}", one_line(&hint)));
    }
}

/// Colour on standard error: on a terminal, unless NO_COLOR says otherwise.
pub fn colour() -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !forbidden && std::io::stderr().is_terminal()
}

/// Messages of parsers can have several lines, and names can hold anything.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ").chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
