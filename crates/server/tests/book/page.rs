//! The blocks, links, headings and code of a page.

use std::{collections::BTreeSet, fs, path::Path};

/// A Markdown page, with its path from the root.
pub(crate) struct Page {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) blocks: Vec<Block>,
    prose: String,
}

/// A fenced block.
pub(crate) struct Block {
    pub(crate) line: usize,
    classes: Vec<String>,
    pub(crate) text: String,
}

impl Block {
    /// Returns `true` if the block is in this language.
    pub(crate) fn is(&self, language: &str) -> bool {
        self.classes.first().is_some_and(|class| class == language)
    }

    pub(crate) fn has(&self, class: &str) -> bool {
        self.classes.iter().skip(1).any(|other| other == class)
    }

    /// The file name in `file=NAME`.
    pub(crate) fn file(&self) -> Option<&str> {
        self.classes.iter().find_map(|class| class.strip_prefix("file="))
    }
}

/// The README and every page in `docs/`.
pub(crate) fn pages() -> Vec<Page> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let entries = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = names
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    names.sort();
    names.insert(0, "README.md".to_owned());
    let read = |name: String| {
        let text = fs::read_to_string(root.join(&name)).unwrap();
        Page::parse(name, text)
    };
    names.into_iter().map(read).collect()
}

impl Page {
    pub(crate) fn parse(name: String, text: String) -> Self {
        let (mut blocks, mut prose, mut open) = (Vec::new(), String::new(), None::<Block>);
        for (number, line) in (1..).zip(text.lines()) {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(info), None) => {
                    let classes = info.split(',').map(|class| class.trim().to_owned()).collect();
                    open = Some(Block {
                        line: number,
                        classes,
                        text: String::new(),
                    });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {
                    prose.push_str(line);
                    prose.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{name}: a block does not end");
        Self {
            name,
            text,
            blocks,
            prose,
        }
    }

    /// The targets of its links.
    pub(crate) fn links(&self) -> Vec<&str> {
        let behind = self.prose.split("](").skip(1);
        behind.filter_map(|rest| rest.split(')').next()).collect()
    }

    /// The anchors of its headings.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|line| anchor(line.trim_start_matches('#').trim()))
            .collect()
    }

    /// The code spans in its prose.
    pub(crate) fn code_spans(&self) -> Vec<String> {
        // By paragraph, because a span may extend over a line break.
        let paragraphs = self.prose.split("\n\n");
        paragraphs
            .flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2))
            .map(|span| span.replace('\n', " "))
            .collect()
    }

    /// The captures that the page cites.
    pub(crate) fn captures(&self) -> Vec<String> {
        let spans = self.code_spans().into_iter();
        spans
            .filter(|span| span.starts_with('D') && span.contains("__"))
            .collect()
    }

    /// The flags of the program in its prose and commands.
    pub(crate) fn flags(&self) -> Vec<String> {
        let spans = self.code_spans().into_iter();
        let spans = spans.filter(|span| span.starts_with("--") || of_program(span).is_some());
        let blocks = self.blocks.iter().map(|block| block.text.replace("\\\n", " "));
        let commands = blocks.flat_map(|text| text.lines().filter_map(of_program).collect::<Vec<_>>());
        let words = spans.chain(commands).collect::<Vec<_>>().join(" ");
        let flags = words.split_whitespace().filter(|word| word.starts_with("--"));
        flags
            .filter_map(|word| word.split(['=', ',']).next().map(str::to_owned))
            .filter(|flag| flag != "--")
            .collect()
    }
}

/// The part of `line` that runs the program.
fn of_program(line: &str) -> Option<String> {
    [
        "serve",
        "plan",
        "scrub",
        "check",
        "events",
        "files",
        "hold",
        "erase",
        "retention",
        "audit",
        "config",
        "health",
        "reindex",
        "copy",
    ]
    .iter()
    .find_map(|command| {
        let start = line.find(&format!("kazoo-storage {command}"))?;
        line.get(start..).map(str::to_owned)
    })
}

/// The anchor as GitHub derives it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
