//! Links within the documents lead somewhere: to a file that is there, and to a heading that it has. Nothing is asked of the network.
#![allow(clippy::unwrap_used)] // the helpers are not marked as tests

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use ignore::WalkBuilder;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What a document has: its headings as browsers address them, and where its links lead.
struct Document {
    anchors: BTreeSet<String>,
    links: Vec<String>,
}

impl Document {
    fn read(text: &str) -> Self {
        let mut anchors = BTreeMap::new();
        let mut links = Vec::new();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap_or_default());
                    *anchors.entry(slug).or_insert(0) += 1;
                }
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    links.push(dest_url.into_string())
                }
                _ => {}
            }
        }
        // The second heading of the same words is addressed by -1, the third by -2.
        let anchors = anchors.into_iter().flat_map(|(slug, count)| {
            (0..count).map(move |number| match number {
                0 => slug.clone(),
                number => format!("{slug}-{number}"),
            })
        });
        Self {
            anchors: anchors.collect(),
            links,
        }
    }
}

/// A heading as GitHub and mdbook address it.
fn slug(heading: &str) -> String {
    let letters = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    letters.flat_map(char::to_lowercase).collect()
}

/// `path` without `.` and `..`, or `None` if it leaves the project.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => plain.push(name),
            Component::CurDir => {}
            Component::ParentDir if plain.pop() => {}
            _ => return None,
        }
    }
    Some(plain)
}

/// What is wrong with a link of the document at `from`, if anything is.
fn fault(root: &Path, documents: &BTreeMap<PathBuf, Document>, from: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (link, None),
    };
    let target = if path.is_empty() {
        from.to_owned()
    } else {
        let Some(target) = plain(&from.parent().unwrap_or(Path::new("")).join(path)) else {
            return Some("leaves the project".to_owned());
        };
        target
    };
    if !root.join(&target).exists() {
        return Some(format!("there is no {}", target.display()));
    }
    let anchors = &documents.get(&target)?.anchors;
    match anchor {
        Some(anchor) if !anchors.contains(anchor) => Some(format!("{} has no heading of that name", target.display())),
        _ => None,
    }
}

fn documents() -> BTreeMap<PathBuf, Document> {
    let root = root();
    let walk = WalkBuilder::new(&root)
        .hidden(false)
        .require_git(false)
        .parents(false)
        .git_global(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    let files = walk.map(Result::unwrap).map(|entry| entry.path().to_owned());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let document = Document::read(&fs::read_to_string(&path).unwrap());
            (path.strip_prefix(&root).unwrap().to_owned(), document)
        })
        .collect()
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let (root, documents) = (root(), documents());
    let all = documents.iter();
    let links = all.flat_map(|(path, document)| document.links.iter().map(move |link| (path, link)));
    let mut count = 0;
    let faults: Vec<_> = links
        .inspect(|_| count += 1)
        .filter_map(|(path, link)| {
            let fault = fault(&root, &documents, path, link)?;
            Some(format!("{}: ({link}): {fault}", path.display()))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 100, "only {count} links were found");
}

#[test]
fn every_page_of_the_book_is_in_its_summary() {
    let documents = documents();
    let summary = &documents[Path::new("docs/SUMMARY.md")];
    let named: BTreeSet<_> = summary.links.iter().map(|link| Path::new("docs").join(link)).collect();
    let pages = documents.keys().filter(|path| path.starts_with("docs"));
    let missing: Vec<_> = pages
        .filter(|path| !path.ends_with("SUMMARY.md") && !named.contains(*path))
        .collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
}

#[test]
fn faults_are_found() {
    let documents = BTreeMap::from([
        (
            PathBuf::from("README.md"),
            Document::read("# A `b` (c)\n\n## Same\n\n## Same\n\n[x](xtask/Cargo.toml)"),
        ),
        (PathBuf::from("xtask/README.md"), Document::read("# Other")),
    ]);
    let fault = |from: &str, link: &str| fault(&root(), &documents, Path::new(from), link);
    for link in [
        "#a-b-c",
        "#same",
        "#same-1",
        "xtask",
        "xtask/Cargo.toml#any",
        "https://riad.example/none",
    ] {
        assert_eq!(fault("README.md", link), None, "{link}");
    }
    assert_eq!(fault("xtask/README.md", "../README.md#same"), None);
    for link in ["#same-2", "#A-b-c", "none.md", "../outside.md"] {
        assert!(fault("README.md", link).is_some(), "{link}");
    }
}
