//! What a `resolv.conf` says, and how it is written.
use std::{fs, io::Read, path::Path};

/// The largest file that is read. Bytes.
const MAX: u64 = 64 << 10;

/// Name servers at the most, as resolvers take them.
const MOST_SERVERS: usize = 3;
/// Domains that are searched at the most, and their letters.
const MOST_SEARCHES: usize = 32;
const MOST_LETTERS: usize = 2048;

/// Name servers, the domains that short names are looked for in, and options (`ndots:5`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<String>,
    pub searches: Vec<String>,
    pub options: Vec<String>,
}

impl ResolvConf {
    /// Of a file; nothing if it cannot be read.
    pub fn read(path: &Path) -> Self {
        let mut text = Vec::new();
        let read = fs::File::open(path).and_then(|file| file.take(MAX).read_to_end(&mut text));
        match read {
            Ok(_) => Self::parse(&String::from_utf8_lossy(&text)),
            Err(_) => Self::default(),
        }
    }

    /// As `resolv.conf(5)` has it: the last `search` or `domain` counts, all options do.
    pub fn parse(text: &str) -> Self {
        let mut all = ResolvConf::default();
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => all.servers.extend(words.next()),
                Some("search") => all.searches = words.collect(),
                Some("domain") => all.searches = words.take(1).collect(),
                Some("options") => all.options.extend(words),
                _ => {}
            }
        }
        all
    }

    /// Adds what is not there yet.
    pub fn extend(&mut self, servers: &[String], searches: &[String]) {
        let add = |to: &mut Vec<String>, from: &[String]| {
            for one in from {
                if !to.contains(one) {
                    to.push(one.clone());
                }
            }
        };
        add(&mut self.servers, servers);
        add(&mut self.searches, searches);
    }

    /// Sets an option, in the place of one of that name.
    pub fn set_option(&mut self, name: &str, value: Option<&str>) {
        let text = value.map_or_else(|| name.to_owned(), |value| format!("{name}:{value}"));
        let named = |option: &&mut String| option.split(':').next() == Some(name);
        match self.options.iter_mut().find(named) {
            Some(option) => *option = text,
            None => self.options.push(text),
        }
    }

    /// The file, with no more than resolvers take.
    pub fn text(&self) -> String {
        let servers = self.servers.iter().take(MOST_SERVERS);
        let mut text: String = servers.map(|server| format!("nameserver {server}\n")).collect();
        let mut searches = String::new();
        for domain in self.searches.iter().take(MOST_SEARCHES) {
            if searches.len() + domain.len() + 1 > MOST_LETTERS {
                break;
            }
            searches.push(' ');
            searches.push_str(domain);
        }
        if !searches.is_empty() {
            text.push_str(&format!("search{searches}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        let text =
            "# mine\n;\nnameserver 192.0.2.1\ndomain old.example\nsearch a.example b.example\noptions ndots:2 rotate\n";
        let mut all = ResolvConf::parse(text);
        assert_eq!(all.searches, ["a.example", "b.example"]);
        all.extend(
            &[
                "192.0.2.1".into(),
                "192.0.2.2".into(),
                "192.0.2.3".into(),
                "192.0.2.4".into(),
            ],
            &["b.example".into()],
        );
        all.set_option("ndots", Some("5"));
        all.set_option("edns0", None);
        assert_eq!(
            all.text(),
            "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nsearch a.example b.example\n\
             options ndots:5 rotate edns0\n"
        );
    }

    #[test]
    fn no_more_than_resolvers_take() {
        let many = |count: usize, letters: usize| {
            let searches = (0..count).map(|number| format!("{number:0>letters$}")).collect();
            let conf = ResolvConf {
                searches,
                ..ResolvConf::default()
            };
            conf.text().split_whitespace().count() - 1
        };
        assert_eq!((many(40, 5), many(40, 127)), (32, 16));
    }
}
