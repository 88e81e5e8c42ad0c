use super::*;
use crate::testing::deployment;

fn definition() -> Definition {
    Definition::sql("p", "int64", "a * b", "a * b", vec![])
}

fn needs() -> Needs<'static> {
    Needs {
        python: false,
        secrets: &[],
        pool: Pool::Cpu,
        gpus: 0.0,
    }
}

#[test]
fn an_expression_needs_nothing() {
    let bare = Deployment {
        python: false,
        secrets: BTreeSet::new(),
        gpu_classes: BTreeSet::new(),
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

#[test]
fn gpus_are_there_where_a_class_of_them_is() {
    let with = Deployment {
        gpu_classes: BTreeSet::from(["a10g".to_owned()]),
        ..deployment()
    };
    let without = Deployment {
        gpu_classes: BTreeSet::new(),
        ..deployment()
    };
    let on_gpu = [
        Needs {
            pool: Pool::Gpu,
            ..needs()
        },
        Needs {
            gpus: 0.5,
            ..needs()
        },
        Needs {
            pool: Pool::RayCpu,
            ..needs()
        },
    ];
    for needs in on_gpu {
        assert_eq!(with.check(&needs), Ok(()));
        assert!(without.check(&needs).is_err(), "{needs:?}");
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
