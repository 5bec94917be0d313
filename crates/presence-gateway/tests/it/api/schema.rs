//! The part of JSON Schema that our OpenAPI document uses. A word it does not know is an error, not a blank.

use serde_json::Value;

/// Whether `value` is as `schema` says; `document` is where its references point to.
///
/// Stricter than the schema's own words: an object has no members but those it names.
pub(super) fn check(
    document: &Value,
    schema: &Value,
    value: &Value,
    at: &str,
) -> Result<(), String> {
    let schema = schema.as_object().ok_or("a schema must be an object")?;
    let number = |it: &Value| it.as_f64().unwrap_or(f64::NAN);
    for (word, wants) in schema {
        let fits = match word.as_str() {
            "$ref" => {
                let target = wants.as_str().and_then(|it| it.strip_prefix('#'));
                let target = target.and_then(|it| document.pointer(it));
                check(document, target.ok_or(format!("no {wants}"))?, value, at)?;
                true
            }
            "anyOf" => {
                let all = wants.as_array().unwrap().iter();
                let tried: Vec<_> = all.map(|it| check(document, it, value, at)).collect();
                if tried.iter().all(Result::is_err) {
                    return Err(format!("{at}: none of {tried:?}"));
                }
                true
            }
            "not" => check(document, wants, value, at).is_err(),
            "type" => match wants {
                Value::String(kind) => is_a(kind, value),
                kinds => kinds
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|it| is_a(it.as_str().unwrap(), value)),
            },
            "enum" => wants.as_array().unwrap().contains(value),
            "const" => wants == value,
            "minimum" => !value.is_number() || number(value) >= number(wants),
            "maximum" => !value.is_number() || number(value) <= number(wants),
            "minLength" => value
                .as_str()
                .is_none_or(|it| it.chars().count() as f64 >= number(wants)),
            "maxLength" => value
                .as_str()
                .is_none_or(|it| it.chars().count() as f64 <= number(wants)),
            "pattern" => {
                let pattern = regex::Regex::new(wants.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|it| pattern.is_match(it))
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(document, wants, item, &format!("{at}[{index}]"))?;
                }
                true
            }
            "minItems" => value
                .as_array()
                .is_none_or(|it| it.len() as f64 >= number(wants)),
            "maxItems" => value
                .as_array()
                .is_none_or(|it| it.len() as f64 <= number(wants)),
            "required" => match value.as_object() {
                Some(members) => wants
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|it| members.contains_key(it.as_str().unwrap())),
                None => true,
            },
            "properties" => {
                let is_free = schema.get("additionalProperties") == Some(&Value::Bool(true));
                for (name, member) in value.as_object().into_iter().flatten() {
                    match wants.get(name) {
                        Some(schema) => check(document, schema, member, &format!("{at}.{name}"))?,
                        None if is_free => {}
                        None => return Err(format!("{at}: {name} is not in the schema")),
                    }
                }
                true
            }
            "additionalProperties" | "description" | "default" => true,
            unknown => panic!("{at}: the checker does not know {unknown:?}"),
        };
        if !fits {
            return Err(format!("{at}: {value} does not fit {word} {wants}"));
        }
    }
    Ok(())
}

fn is_a(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        unknown => panic!("the checker does not know the type {unknown:?}"),
    }
}
