//! What stands behind a command.

/// The numbers of peers to measure with.
pub(crate) fn sizes(options: &[String], usual: &str) -> Result<Vec<usize>, String> {
    let sizes = value(options, "--peers")?.unwrap_or(usual);
    let sizes: Result<Vec<usize>, _> = sizes.split(',').map(str::parse).collect();
    sizes.map_err(|e| format!("--peers: {e}"))
}

/// The number after `name`, if it is given.
pub(crate) fn number(options: &[String], name: &str) -> Result<Option<usize>, String> {
    let Some(text) = value(options, name)? else {
        return Ok(None);
    };
    text.parse()
        .map(Some)
        .map_err(|_| format!("{name}: {text} is not a number"))
}

/// The text after `name`, if it is given.
pub(crate) fn value<'a>(options: &'a [String], name: &str) -> Result<Option<&'a str>, String> {
    let Some(at) = options.iter().position(|option| option == name) else {
        return Ok(None);
    };
    options
        .get(at + 1)
        .map(|text| Some(text.as_str()))
        .ok_or_else(|| format!("{name} needs a value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_by_name_and_bad_ones_are_told() {
        let given = ["--rounds", "7", "--peers", "10,20", "--out"].map(str::to_owned);
        assert_eq!(number(&given, "--rounds"), Ok(Some(7)));
        assert_eq!(number(&given, "--nodes"), Ok(None));
        assert_eq!(sizes(&given, "5"), Ok(vec![10, 20]));
        assert_eq!(sizes(&[], "5"), Ok(vec![5]));
        for (name, problem) in [
            ("--peers", "--peers: 10,20 is not a number"),
            ("--out", "--out needs a value"),
        ] {
            assert_eq!(number(&given, name), Err(problem.to_owned()));
        }
    }
}
