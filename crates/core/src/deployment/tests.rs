use super::*;
use crate::testing::{class_queues, deployment};

fn definition() -> Definition {
    Definition::sql("p", "int64", "a * b", "a * b", vec![])
}

fn needs() -> Needs<'static> {
    Needs {
        python: false,
        secrets: &[],
        pool: Pool::Cpu,
        gpus: 0.0,
        gpu_class: None,
    }
}

#[test]
fn an_expression_needs_nothing() {
    let bare = Deployment {
        python: false,
        secrets: BTreeSet::new(),
        classes: BTreeMap::new(),
        ..deployment()
    };
    assert_eq!(bare.check(&Needs::of(&definition())), Ok(()));
}

#[test]
fn what_is_not_deployed_is_refused_by_name() {
    let python = Needs {
        python: true,
        ..needs()
    };
    let full = Deployment {
        python: true,
        ..deployment()
    };
    assert_eq!(full.check(&python), Ok(()));
    let without = Deployment {
        python: false,
        ..deployment()
    };
    let refused = without.check(&python).expect_err("no Python");
    assert!(refused.to_string().contains("Python worker"), "{refused}");
    let names = ["OPENAI_KEY".to_owned(), "OTHER_KEY".to_owned()];
    let secrets = Needs {
        secrets: &names,
        ..python
    };
    let refused = full.check(&secrets).expect_err("one secret is missing");
    assert!(refused.to_string().contains("'OTHER_KEY'"), "{refused}");
    let known = Needs {
        secrets: &names[..1],
        ..python
    };
    assert_eq!(full.check(&known), Ok(()));
}

fn with(classes: &[&str]) -> Deployment {
    let queues = |class: &&str| ((*class).to_owned(), class_queues(class));
    Deployment {
        python: false,
        classes: classes.iter().map(queues).collect(),
        ..deployment()
    }
}

#[test]
fn what_no_class_takes_is_refused_with_the_names_of_those_that_are_there() {
    let gpu = Needs {
        python: true,
        gpus: 0.5,
        ..needs()
    };
    assert_eq!(with(&["a10g"]).check(&gpu), Ok(()), "pods have Python");
    let named = Needs {
        pool: Pool::Gpu,
        gpu_class: Some("l4"),
        ..needs()
    };
    assert_eq!(with(&["a10g", "l4"]).check(&named), Ok(()));
    let ray = Needs {
        pool: Pool::RayCpu,
        python: true,
        ..needs()
    };
    assert_eq!(with(&["ray-cpu"]).check(&ray), Ok(()));
    for (classes, needs, told) in [
        (&[][..], gpu, "no GPU workers"),
        (&["ray-cpu"], gpu, "no GPU workers"),
        (&["a10g", "l4", "ray-cpu"], gpu, "(a10g, l4)"),
        (&["a10g"], named, "class 'l4', only of a10g"),
        (&["a10g"], ray, "no CPU workers on Ray"),
    ] {
        let refused = with(classes).check(&needs).expect_err(told).to_string();
        assert!(
            refused.starts_with("service 'lance-backfill' has "),
            "{refused}"
        );
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn a_definition_says_what_it_needs() {
    let mut definition = definition();
    assert!(!Needs::of(&definition).python);
    definition.function = Function::Python {
        entrypoint: "captions:caption".to_owned(),
        artifact: "a1".to_owned(),
        environment: "e1".to_owned(),
        version: None,
    };
    definition.secrets = vec!["OPENAI_KEY".to_owned()];
    definition.resources.gpus = 1.0;
    let needs = Needs::of(&definition);
    assert!(needs.python);
    assert_eq!(needs.secrets, definition.secrets);
    assert!(deployment().check(&needs).is_err(), "no GPUs");
}
