use std::collections::BTreeSet;

use super::*;

fn input(id: FieldId, name: &str) -> Input {
    Input {
        id,
        name: name.to_owned(),
    }
}

fn sql() -> Definition {
    Definition::sql("p", "double", "a * b", "\"a\" * \"b\"", vec![input(0, "a")])
}

fn python(version: Option<&str>) -> Definition {
    Definition {
        function: Function::Python {
            entrypoint: "m:f".to_owned(),
            artifact: "aa".to_owned(),
            environment: "ee".to_owned(),
            version: version.map(str::to_owned),
        },
        ..sql()
    }
}

/// What a change means for values that were computed before it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Means {
    OtherValues,
    SameValues,
}
use Means::{OtherValues, SameValues};

fn check(base: &Definition, what: &str, means: Means, change: impl FnOnce(&mut Definition)) {
    let mut changed = base.clone();
    change(&mut changed);
    assert_ne!(*base, changed, "{what} was not changed");
    let found = match base.generation() == changed.generation() {
        true => SameValues,
        false => OtherValues,
    };
    assert_eq!(found, means, "{what}");
}

/// Every field is named: who adds one must say here whether it decides a value.
#[test]
fn the_generation_depends_on_what_decides_a_value_and_on_nothing_else() {
    let base = sql();
    let Definition {
        version: _,
        outputs: _,
        output_types: _,
        returns: _,
        function: _,
        inputs: _,
        filter: _,
        filter_inputs: _,
        auto: _,
        pool: _,
        resources:
            Resources {
                cpus: _,
                gpus: _,
                gpu_class: _,
                memory_mib: _,
            },
        secrets: _,
        error_policy:
            ErrorPolicy {
                on_error: _,
                max_failed_rows: _,
                max_failed_fraction: _,
                max_attempts: _,
                row_timeout_s: _,
            },
        accepted_generations: _,
        earlier: _,
        on_unknown: _,
        approve_above_rows: _,
        declared_max_fragment: _,
        call:
            Call {
                batch_size: _,
                init_timeout_s: _,
                retry_on: _,
                env: _,
                batch_bytes: _,
            },
    } = &base;
    let Input { id: _, name: _ } = input(0, "a");
    let other = || "x".to_owned();

    check(&base, "output_types", OtherValues, |it| {
        it.output_types = vec![other()]
    });
    check(&base, "inputs.name", OtherValues, |it| {
        it.inputs[0].name = other()
    });
    check(&base, "inputs", OtherValues, |it| {
        it.inputs.push(input(1, "b"))
    });

    check(&base, "version", SameValues, |it| it.version = 7);
    check(&base, "outputs", SameValues, |it| {
        it.outputs = vec![other()]
    });
    check(&base, "returns", SameValues, |it| {
        it.returns = Some(other())
    });
    check(&base, "inputs.id", SameValues, |it| it.inputs[0].id = 7);
    check(&base, "filter", SameValues, |it| it.filter = Some(other()));
    check(&base, "filter_inputs", SameValues, |it| {
        it.filter_inputs.push(input(1, "b"))
    });
    check(&base, "auto", SameValues, |it| it.auto = false);
    check(&base, "pool", SameValues, |it| it.pool = Pool::Gpu);
    check(&base, "cpus", SameValues, |it| it.resources.cpus = 7.0);
    check(&base, "gpus", SameValues, |it| it.resources.gpus = 7.0);
    check(&base, "memory_mib", SameValues, |it| {
        it.resources.memory_mib = Some(7)
    });
    check(&base, "gpu_class", SameValues, |it| {
        it.resources.gpu_class = Some(other())
    });
    check(&base, "batch_bytes", SameValues, |it| {
        it.call.batch_bytes = Some(7)
    });
    check(&base, "secrets", SameValues, |it| it.secrets.push(other()));
    check(&base, "on_error", SameValues, |it| {
        it.error_policy.on_error = OnError::Fail
    });
    check(&base, "max_failed_rows", SameValues, |it| {
        it.error_policy.max_failed_rows = Some(7)
    });
    check(&base, "max_failed_fraction", SameValues, |it| {
        it.error_policy.max_failed_fraction = None;
    });
    check(&base, "max_attempts", SameValues, |it| {
        it.error_policy.max_attempts = 7
    });
    check(&base, "row_timeout_s", SameValues, |it| {
        it.error_policy.row_timeout_s = Some(7.0)
    });
    check(&base, "accepted_generations", SameValues, |it| {
        it.accepted_generations.insert(base.generation(), vec![]);
    });
    check(&base, "earlier", SameValues, |it| {
        it.earlier.push(Earlier {
            watched: vec![],
            filter: None,
            filter_inputs: vec![],
        });
    });
    check(&base, "on_unknown", SameValues, |it| {
        it.on_unknown = OnUnknown::Recompute
    });
    check(&base, "approve_above_rows", SameValues, |it| {
        it.approve_above_rows = Some(7)
    });
    check(&base, "declared_max_fragment", SameValues, |it| {
        it.declared_max_fragment = Some(7)
    });
    check(&base, "batch_size", SameValues, |it| {
        it.call.batch_size = Some(7)
    });
    check(&base, "init_timeout_s", SameValues, |it| {
        it.call.init_timeout_s = Some(7.0)
    });
    check(&base, "retry_on", SameValues, |it| {
        it.call.retry_on.push(other())
    });
    check(&base, "env", SameValues, |it| {
        it.call.env.insert(other(), other());
    });
}

#[test]
fn of_a_sql_function_the_canonical_text_decides() {
    let set = |change: fn(&mut String, &mut String)| {
        move |it: &mut Definition| match &mut it.function {
            Function::Sql {
                expression,
                canonical,
            } => change(expression, canonical),
            Function::Python { .. } => unreachable!("it is SQL"),
        }
    };
    check(
        &sql(),
        "expression",
        SameValues,
        set(|expression, _| expression.push(' ')),
    );
    check(
        &sql(),
        "canonical",
        OtherValues,
        set(|_, canonical| canonical.push(' ')),
    );
}

#[test]
fn of_a_python_function_the_code_or_in_its_place_the_version_decides() {
    type Change = fn(&mut String, &mut String, &mut String, &mut Option<String>);
    let set = |change: Change| {
        move |it: &mut Definition| match &mut it.function {
            Function::Python {
                entrypoint,
                artifact,
                environment,
                version,
            } => {
                change(entrypoint, artifact, environment, version);
            }
            Function::Sql { .. } => unreachable!("it is Python"),
        }
    };
    let versioned = python(Some("1"));
    for base in [python(None), versioned.clone()] {
        check(
            &base,
            "entrypoint",
            OtherValues,
            set(|it, _, _, _| it.push('x')),
        );
        check(
            &base,
            "environment",
            SameValues,
            set(|_, _, it, _| it.push('x')),
        );
        check(
            &base,
            "version",
            OtherValues,
            set(|_, _, _, it| *it = Some("2".to_owned())),
        );
    }
    check(
        &python(None),
        "artifact",
        OtherValues,
        set(|_, it, _, _| it.push('x')),
    );
    check(
        &versioned,
        "artifact",
        SameValues,
        set(|_, it, _, _| it.push('x')),
    );
    // The same text in another place is another function.
    let mut digest_as_version = python(Some("aa"));
    assert_ne!(python(None).generation(), digest_as_version.generation());
    digest_as_version.function = sql().function;
    assert_ne!(python(None).generation(), digest_as_version.generation());
}

#[test]
fn texts_that_run_together_are_told_apart() {
    let inputs = |names: &[&str]| Definition {
        inputs: names.iter().map(|name| input(0, name)).collect(),
        ..sql()
    };
    let mut seen = BTreeSet::new();
    for names in [
        &["ab"][..],
        &["a", "b"],
        &["b", "a"],
        &["", "ab"],
        &["ab", ""],
        &[],
    ] {
        assert!(seen.insert(inputs(names).generation()), "{names:?}");
    }
}

#[test]
fn the_present_and_the_accepted_generations_count_as_current() {
    let mut definition = sql();
    let older = python(None).generation();
    let present = definition.generation();
    assert!(definition.accepts(&present, &present));
    assert!(!definition.accepts(&present, &older));
    definition
        .accepted_generations
        .insert(older.clone(), vec![]);
    assert!(definition.accepts(&present, &older));
}

#[test]
fn a_limit_that_nobody_set_is_that_of_the_kind() {
    assert_eq!(sql().approval_limit(), None);
    assert_eq!(python(None).approval_limit(), Some(1_000_000));
    let set = |limit| Definition {
        approve_above_rows: Some(limit),
        ..python(None)
    };
    assert_eq!(set(0).approval_limit(), Some(0));
    assert_eq!(set(-1).approval_limit(), None);
}
