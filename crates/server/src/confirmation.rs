//! Confirmations of commands that remove something.

use std::io::{self, IsTerminal as _};

use crate::printable::print;

/// The status of a command that needs a confirmation, or another argument.
pub(crate) const UNCONFIRMED: u8 = 2;

/// Asks on the terminal whether to remove what is `shown`, with a `verb` such as `Remove`. Without a terminal, prints that it would be
/// `removed`.
pub(crate) fn is_confirmed(verb: &str, shown: &str, removed: &str) -> Result<bool, String> {
    if !io::stdin().is_terminal() {
        print(&format!("{shown} would be {removed}; to do it, pass --yes"))?;
        return Ok(false);
    }
    eprint!("{verb} {shown}? This cannot be undone. [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|error| format!("cannot read the answer: {error}"))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
