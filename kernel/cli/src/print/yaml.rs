//! YAML as kubectl writes it: keys in order, lists not indented, long texts not folded.
use anyhow::{Context, Result};
use serde_json::Value;

/// A tree as YAML.
///
/// # Errors
/// If the serializer refuses it, which JSON trees give no reason for.
pub fn to_text(value: &Value) -> Result<String> {
    let options = serde_saphyr::ser_options! {
        indent_step: 2,
        compact_list_indent: true,
        folded_wrap_chars: usize::MAX,
        min_fold_chars: usize::MAX,
    };
    let mut text = String::new();
    serde_saphyr::to_fmt_writer_with_options(&mut text, value, options).context("cannot be written as YAML")?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_as_kubectl_writes() {
        let value = json!({"a": [{"name": "x", "on": "yes"}, {"name": "y"}], "empty": {}, "none": [], "n": 1, "s": "1",
            "text": "one\ntwo\n", "long": "word ".repeat(40) + "end", "null": null, "b": true, "zero": "", "colon": "a: b"});
        let text = to_text(&value).unwrap();
        assert!(
            text.contains("a:\n- name: x\n  \"on\": \"yes\"\n- name: \"y\"\n"),
            "{text}"
        );
        assert!(text.contains("text: |\n  one\n  two\n"), "{text}");
        assert!(text.contains("empty: {}\n") && text.contains("none: []\n"), "{text}");
        assert!(!text.contains('>'), "{text}");
        let again = &crate::manifest::parse(&text).unwrap()[0].value;
        assert_eq!(*again, value);
    }
}
