use super::{SqlFunction, table};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
#[test]
fn hunt() {
    std::panic::set_hook(Box::new(|_| {}));
    let state = super::super::session::state();
    let args = [
        "a",
        "b",
        "x",
        "dec",
        "text",
        "flag",
        "day",
        "at",
        "bytes",
        "s",
        "list",
        "vector",
        "NULL",
        "1",
        "'x'",
        "0",
        "-1",
        "'day'",
        "[1,2]",
        "1000000000",
    ];
    let schema = table().schema();
    let batch = table();
    let mut found: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut n = 0usize;
    let mut names: Vec<_> = state
        .scalar_functions()
        .keys()
        .chain(state.higher_order_functions().keys())
        .cloned()
        .collect();
    names.sort();
    let max: usize = std::env::var("HUNT")
        .map(|v| v.parse().unwrap())
        .unwrap_or(2);
    for name in names {
        for count in 0..=max {
            let total = args.len().pow(count as u32);
            for code in 0..total {
                let mut c = code;
                let list: Vec<&str> = (0..count)
                    .map(|_| {
                        let a = args[c % args.len()];
                        c /= args.len();
                        a
                    })
                    .collect();
                if list.contains(&"1000000000")
                    && (name.contains("range")
                        || name.contains("series")
                        || name.contains("repeat")
                        || name.contains("pad")
                        || name.contains("resize"))
                {
                    continue;
                }
                if count == 3 && code % 7 != 0 {
                    continue;
                }
                let text = format!("{name}({})", list.join(", "));
                n += 1;
                let compiled = catch_unwind(AssertUnwindSafe(|| {
                    SqlFunction::compile(&text, &schema, None)
                }));
                match compiled {
                    Err(_) => {
                        let e = found
                            .entry(format!("{name} compile"))
                            .or_insert((0, text.clone()));
                        e.0 += 1;
                    }
                    Ok(Ok(f)) => {
                        for rows in [0..4, 0..1, 2..3] {
                            let part = batch.slice(rows.start, rows.len());
                            match catch_unwind(AssertUnwindSafe(|| f.evaluate(&part))) {
                                Err(_) => {
                                    let e = found
                                        .entry(format!("{name} evaluate"))
                                        .or_insert((0, text.clone()));
                                    e.0 += 1;
                                }
                                Ok(Err(e)) if e.kind == "internal" => {
                                    let x = found
                                        .entry(format!("{name} internal {}", e.message))
                                        .or_insert((0, text.clone()));
                                    x.0 += 1;
                                }
                                _ => {}
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
    }
    eprintln!("{n} calls");
    for (k, (c, t)) in found {
        eprintln!("{k}: {c} e.g. {t}");
    }
}
