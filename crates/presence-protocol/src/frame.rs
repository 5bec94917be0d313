//! Declares structs that are frames.
//!
//! Derived serde does not fit: JSON leaves out a field that is `None`, postcard must not; the JSON key of a
//! [`TopicId`](super::TopicId) depends on its value; and errors must name the field.

/// Declares structs that are frames or parts of frames.
///
/// `strict` ones refuse unknown fields (commands: a misspelt name is found), `lenient` ones ignore them
/// (events: an older client understands a newer gateway).
macro_rules! frame {
    ($strictness:ident $(
        $(#[$doc:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_doc:meta])* $field_vis:vis $field:ident: $type:ty, )*
        }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $( $(#[$field_doc])* $field_vis $field: $type, )*
        }

        impl $name {
            /// Writes the fields as JSON, without those that are absent.
            #[allow(dead_code)]
            pub(super) fn write_fields<S: serde::ser::SerializeStruct>(
                &self,
                _out: &mut S,
            ) -> Result<(), S::Error> {
                $( $crate::member::Member::write(
                    &self.$field,
                    const { $crate::member::json_name(stringify!($field)) },
                    _out,
                )?; )*
                Ok(())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                const FIELDS: usize = [$(stringify!($field)),*].len();
                let readable = to.is_human_readable();
                let mut out = to.serialize_struct(stringify!($name), FIELDS)?;
                if readable {
                    self.write_fields(&mut out)?;
                } else {
                    $( out.serialize_field(stringify!($field), &self.$field)?; )*
                }
                out.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                use $crate::member::{Key, is_key, json_name, missing, twice, Member};
                use serde::de::Error as _;

                struct Read;
                impl<'de> serde::de::Visitor<'de> for Read {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    // Binary: every field, in order.
                    fn visit_seq<A: serde::de::SeqAccess<'de>>(
                        self,
                        mut from: A,
                    ) -> Result<$name, A::Error> {
                        Ok($name {
                            $( $field: from
                                .next_element()?
                                .ok_or_else(|| A::Error::missing_field(stringify!($field)))?, )*
                        })
                    }

                    // JSON: by name.
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut from: A,
                    ) -> Result<$name, A::Error> {
                        $( let mut $field: Option<$type> = None; )*
                        while let Some(Key(key)) = from.next_key::<Key<'de>>()? {
                            $( if is_key::<$type>(const { json_name(stringify!($field)) }, &key) {
                                if $field.is_some() {
                                    return Err(twice::<$type, A::Error>(&key));
                                }
                                $field = Some(<$type as Member<'de>>::read(&key, &mut from)?);
                                continue;
                            } )*
                            $crate::frame::unknown!($strictness, key, from);
                        }
                        Ok($name {
                            $( $field: match $field {
                                Some(it) => it,
                                None => missing(const { json_name(stringify!($field)) })?,
                            }, )*
                        })
                    }
                }
                from.deserialize_struct(stringify!($name), &[$(stringify!($field)),*], Read)
            }
        }

        impl<'de> $crate::member::Member<'de> for $name {}
    )+};
}
pub(super) use frame;

/// What a struct does with a field that it does not have. The decoder has read `type` before.
macro_rules! unknown {
    (lenient, $key:ident, $from:ident) => {{
        let _ = $key;
        $from.next_value::<serde::de::IgnoredAny>()?;
    }};
    (strict, $key:ident, $from:ident) => {{
        if $key != "type" {
            return Err(A::Error::custom(format_args!(
                "unknown field `{}`",
                $key.escape_debug()
            )));
        }
        $from.next_value::<serde::de::IgnoredAny>()?;
    }};
    (closed, $key:ident, $from:ident) => {
        return Err(A::Error::custom(format_args!(
            "unknown field `{}`",
            $key.escape_debug()
        )))
    };
}
pub(super) use unknown;
