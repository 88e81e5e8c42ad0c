//! Values of options.

/// Names and texts of a JSON object.
#[derive(Debug, Clone)]
pub(crate) struct JsonObject(pub(super) Vec<(String, String)>);

pub(super) fn json_object(text: &str) -> Result<JsonObject, String> {
    serde_json::from_str::<std::collections::BTreeMap<String, String>>(text)
        .map(|options| JsonObject(options.into_iter().collect()))
        // The text may hold credentials: it is not repeated.
        .map_err(|_| "it is not a JSON object of strings".to_owned())
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is not KEY=VALUE")),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("'{text}' is not a share between 0 and 1")),
    }
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(format!("'{text}' is not a number above 0")),
    }
}

/// A name that can be one of a file, and of a folder in an object store.
pub(super) fn worker_name(text: &str) -> Result<String, String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let starts = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    match starts && text.len() <= 128 && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "'{text}' is not a name: up to 128 letters, digits, hyphens, dots and underscores, the first of them no sign"
        )),
    }
}

/// A time such as 90s, 30m, 2h or 1d, in seconds.
pub(super) fn seconds(text: &str) -> Result<u64, String> {
    use lance_backfill_core::pause::LONGEST_PAUSE_S;
    let wrong = || format!("'{text}' is not a time such as 90s, 30m or 2h");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(seconds) {
        Some(0) => Err("a pause lasts at least a second".to_owned()),
        Some(all) if all <= LONGEST_PAUSE_S => Ok(all),
        _ => Err("a pause lasts at most 7 days".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{seconds, worker_name};

    #[test]
    fn a_worker_has_a_name_that_leads_nowhere_else() {
        for name in ["a", "l4-1f6c-ip.10.0_3-0"] {
            assert_eq!(worker_name(name).as_deref(), Ok(name));
        }
        for wrong in ["", "a/b", "..", "-a", "a b", &"a".repeat(129)] {
            assert!(worker_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_a_number_and_a_unit() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("30m"), Ok(1_800));
        assert_eq!(seconds("2h"), Ok(7_200));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in [
            "",
            "m",
            "30",
            "-1s",
            "1.5h",
            "0s",
            "8d",
            "99999999999999999999s",
            "30µ",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
