//! The region that a queue is in, as its URL says.

/// The region in the host of a queue's URL; none where the host is nobody's of AWS.
pub(super) fn region_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', ':']).next()?;
    let labels: Vec<&str> = host.split('.').collect();
    let is_of_aws = labels.windows(2).any(|pair| {
        matches!(
            pair,
            ["amazonaws", "com"] | ["api", "aws"] | ["vpce", "amazonaws"]
        )
    });
    if !is_of_aws {
        return None;
    }
    let after = |names: &[&str]| {
        let place = labels.iter().position(|label| names.contains(label))?;
        labels.get(place + 1)
    };
    // `sqs.REGION…`; the older form is `REGION.queue.amazonaws.com`, without a region for the first one.
    let region = match after(&["sqs", "sqs-fips"]) {
        Some(region) => region,
        None => match labels.as_slice() {
            [region, "queue", ..] => region,
            ["queue", ..] => "us-east-1",
            _ => return None,
        },
    };
    Some((*region).to_owned())
}

#[cfg(test)]
mod tests {
    use super::region_of;

    #[test]
    fn a_queue_of_aws_says_where_it_is() {
        for (url, region) in [
            (
                "https://sqs.eu-central-1.amazonaws.com/111122223333/plans",
                "eu-central-1",
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/1/plans",
                "cn-north-1",
            ),
            (
                "https://sqs-fips.us-gov-west-1.amazonaws.com/1/plans.fifo",
                "us-gov-west-1",
            ),
            ("https://sqs.eu-west-1.api.aws/1/plans", "eu-west-1"),
            (
                "https://vpce-0a1.sqs.ap-south-1.vpce.amazonaws.com/1/plans",
                "ap-south-1",
            ),
            ("https://us-west-2.queue.amazonaws.com/1/plans", "us-west-2"),
            ("https://queue.amazonaws.com/1/plans", "us-east-1"),
        ] {
            assert_eq!(region_of(url).as_deref(), Some(region), "{url}");
        }
        for url in [
            "http://127.0.0.1:4566/000000000000/plans",
            "http://sqs.local/1/plans",
            "plans",
            "",
        ] {
            assert_eq!(region_of(url), None, "{url}");
        }
    }
}
