//! [`Listing`]: prints a list that the server returns in pages.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    AdminClient,
    values::{field, items, query},
};
use crate::{
    printable::{json_lines, print_lines},
    table::Table,
};

/// Number of items that are fetched at once: a table has this many lines of one width.
const PAGE: u64 = 500;

/// A list of the API, and how to print it.
pub(crate) struct Listing<'a> {
    /// The path in the API.
    pub(crate) path: &'a str,
    /// The field of the items in a page. It is also what people call them.
    pub(crate) items: &'a str,
    pub(crate) parameters: Vec<(&'static str, Option<String>)>,
    /// The body of each request, which is then a POST.
    pub(crate) body: Option<Value>,
    /// Maximum number of items; 0 for all.
    pub(crate) limit: u64,
    /// Prints JSON lines instead of a table.
    pub(crate) json: bool,
    pub(crate) headings: &'a [&'a str],
    /// Returns the cells of an item.
    pub(crate) row: fn(&Value) -> Vec<String>,
}

impl Listing<'_> {
    /// Prints the items. Stops when the reader of stdout has seen enough.
    pub(crate) async fn print(self, client: &AdminClient) -> Result<ExitCode, String> {
        let mut left = if self.limit == 0 { u64::MAX } else { self.limit };
        let (mut cursor, mut is_first) = (None, true);
        loop {
            let mut parameters = self.parameters.clone();
            parameters.extend([("limit", Some(left.min(PAGE).to_string())), ("cursor", cursor)]);
            let target = format!("{}?{}", self.path, query(&parameters));
            let page = match &self.body {
                None => client.get(&target).await?,
                Some(body) => client.read(&target, body.clone()).await?,
            };
            let items = items(&page, self.items);
            if !print_lines(&self.lines(items, is_first))? {
                break;
            }
            left -= left.min(items.len() as u64);
            cursor = field(&page, "next").as_str().map(str::to_owned);
            is_first = false;
            if cursor.is_none() {
                break;
            }
            if left == 0 {
                eprintln!("there are more {}: raise --limit", self.items);
                break;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn lines(&self, items: &[Value], with_headings: bool) -> String {
        if self.json {
            return json_lines(items);
        }
        let mut table = Table::new(self.headings);
        for item in items {
            table.add((self.row)(item));
        }
        table.text(with_headings)
    }
}
