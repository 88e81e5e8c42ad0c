//! Amounts as Kubernetes writes them, and lengths of time.

use std::time::Duration;

/// An amount such as `500m`, `4`, `16Gi` or `1e3`; none if it is not one.
pub fn quantity(text: &str) -> Option<f64> {
    let end = text.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'));
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    if !number.contains(|letter: char| letter.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => {
            let power = exponent.strip_prefix(['e', 'E'])?;
            10f64.powi(power.parse().ok()?)
        }
    };
    Some(number * factor)
}

/// A length of time such as `90`, `45s`, `30m` or `1h`; none if it is not one.
pub(super) fn time(text: &str) -> Option<Duration> {
    let (number, unit) = match text.char_indices().next_back()? {
        (_, last) if last.is_ascii_digit() => (text, 1),
        (at, 's') => (text.get(..at)?, 1),
        (at, 'm') => (text.get(..at)?, 60),
        (at, 'h') => (text.get(..at)?, 3_600),
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    Some(Duration::from_secs(number.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_does() {
        assert_eq!(quantity("500m"), Some(0.5));
        assert_eq!(quantity("4"), Some(4.0));
        assert_eq!(quantity("16Gi"), Some(16.0 * 1024f64.powi(3)));
        assert_eq!(quantity("1e3"), Some(1000.0));
        for wrong in ["", "Gi", "16GB", "4 ", "-1", ".", "1.2.3", "e3"] {
            assert_eq!(quantity(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(time("30m"), Some(Duration::from_secs(1_800)));
        assert_eq!(time("1h"), Some(Duration::from_secs(3_600)));
        assert_eq!(time("45s"), time("45"));
        for wrong in ["", "m", "1d", "1.5h", "-1s"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}
