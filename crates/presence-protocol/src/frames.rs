//! Declares the two enums of frames: all commands, and all events.

/// Declares the enum of all frames of one direction, from each frame's `type` and struct.
macro_rules! frames {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {
            $( $kind:literal => $variant:ident($type:ty), )+
        }
    ) => {
        $(#[$doc])*
        ///
        /// Its serde form is the schema of binary frames. For JSON use [`to_json`](Self::to_json).
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[allow(missing_docs)] // Each variant is documented at its struct.
        #[allow(clippy::large_enum_variant)] // Frames live for one function call.
        pub enum $name {
            $( $variant($type), )+
        }

        impl $name {
            /// The `type` of every frame of this direction.
            pub const TYPES: &'static [&'static str] = &[$($kind),+];

            /// The `type` of this frame.
            pub fn kind(&self) -> &'static str {
                match self {
                    $( $name::$variant(_) => $kind, )+
                }
            }

            /// Appends the JSON text of the frame to `out`.
            pub fn encode_json(&self, out: &mut Vec<u8>) {
                match self {
                    $( $name::$variant(frame) => $crate::codec::write_json(
                        $kind,
                        |fields| frame.write_fields(fields),
                        out,
                    ), )+
                }
            }

            /// The JSON text of the frame.
            pub fn to_json(&self) -> String {
                let mut out = Vec::with_capacity(256);
                self.encode_json(&mut out);
                String::from_utf8(out).expect("JSON is UTF-8")
            }

            /// Reads a frame from its JSON text. Half a surrogate pair in it is read as U+FFFD.
            ///
            /// # Errors
            ///
            /// Says what is wrong with the text, in which field, and with which `ref`.
            pub fn from_json(text: &str) -> Result<Self, $crate::DecodeError> {
                let text = &*$crate::mend(text);
                let head = $crate::codec::head(text)?;
                match &*head.kind {
                    $( $kind => $crate::codec::body(text, head.ref_).map($name::$variant), )+
                    kind => Err($crate::DecodeError::unknown(kind, head.ref_)),
                }
            }

            /// Appends the bytes of the binary frame to `out`.
            pub fn encode_postcard(&self, out: &mut Vec<u8>) {
                $crate::codec::write_postcard(self, out);
            }

            /// The bytes of the binary frame.
            pub fn to_postcard(&self) -> Vec<u8> {
                let mut out = Vec::with_capacity(128);
                self.encode_postcard(&mut out);
                out
            }

            /// Reads a frame from the bytes of a binary frame.
            ///
            /// # Errors
            ///
            /// Says what is wrong with the bytes. Binary frames have no field names, so `field` is set only for a JSON
            /// text inside the frame.
            pub fn from_postcard(frame: &[u8]) -> Result<Self, $crate::DecodeError> {
                $crate::codec::read_postcard(frame)
            }
        }
    };
}
pub(super) use frames;
