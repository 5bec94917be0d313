//! The meta of a session: what it says about itself in a channel.

use std::fmt;
use std::sync::Arc;

use crate::UserId;
use crate::hash::fnv1a_64;
use crate::json::{self, JsonError};

/// The maximum size of a meta, in bytes of its JSON text.
pub const META_BYTES_MAX: usize = 4096;

/// What a session says about itself in a channel or a workspace: a JSON object of at most [`META_BYTES_MAX`] bytes.
/// Three of its members have a meaning to Presence: `name`, `color` and `avatar`; all others are passed on unchanged.
///
/// Its text is written into the frames of everybody who watches the channel. So a meta can be made only from a text
/// that was checked: by [`from_json`](Self::from_json), [`showing`](Self::showing), or `of` of the feature `serde`. The default is the empty object,
/// `{}`. Two metas are equal if their texts are and what they show: a different order of members makes a difference.
///
/// ```
/// use presence_core::Meta;
///
/// let meta = Meta::from_json(r#"{"name": "Ann", "role": "editor"}"#)?;
/// assert_eq!(meta.name().map(|it| &**it), Some("Ann"));
/// assert!(Meta::from_json("not an object").is_err());
/// # Ok::<(), presence_core::MetaError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    json: Arc<str>,
    shown: Shown,
}

/// The parts of a [`Meta`] that some protocols have fields of their own for. Each has at most [`META_BYTES_MAX`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Shown {
    /// The name that the person is shown with.
    pub name: Option<Arc<str>>,
    /// The color that the person is shown in; without one it is [`color_of`] their id.
    pub color: Option<Arc<str>>,
    /// The URL of the person's picture.
    pub avatar: Option<Arc<str>>,
}

/// Why a text or a value is not a valid [`Meta`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetaError {
    /// The text has more than [`META_BYTES_MAX`] bytes.
    TooLarge,
    /// The name, the color or the avatar has more than [`META_BYTES_MAX`] bytes.
    ShownTooLarge,
    /// The text is not a JSON object that every client can read.
    Json(JsonError),
    /// The value that `Meta::of` was given cannot be written as JSON. The text says why.
    Value(Arc<str>),
}

impl fmt::Display for MetaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetaError::TooLarge => write!(f, "must be at most {META_BYTES_MAX} bytes"),
            MetaError::ShownTooLarge => write!(
                f,
                "must show a name, a color and an avatar of at most {META_BYTES_MAX} bytes each"
            ),
            MetaError::Json(error) => write!(f, "must be a JSON object: {error}"),
            MetaError::Value(why) => write!(f, "must be writable as JSON: {why}"),
        }
    }
}

impl std::error::Error for MetaError {}

impl From<JsonError> for MetaError {
    fn from(error: JsonError) -> Self {
        MetaError::Json(error)
    }
}

impl Meta {
    /// Checks that `json` is a JSON object. Its `name`, `color` and `avatar` are shown where they are strings
    /// and not empty.
    ///
    /// # Errors
    ///
    /// [`MetaError`] if the text has more than [`META_BYTES_MAX`] bytes, or is no JSON
    /// object; see [`check_json`](crate::check_json).
    pub fn from_json(json: impl Into<Arc<str>>) -> Result<Self, MetaError> {
        let json = json.into();
        check_size(&json)?;
        let mut shown = Shown::default();
        json::members(&json, |name, value| {
            let part = match &*name {
                "name" => &mut shown.name,
                "color" => &mut shown.color,
                "avatar" => &mut shown.avatar,
                _ => return,
            };
            let text = json::text_of(value).filter(|it| !it.is_empty());
            *part = text.map(|it| it.into());
        })?;
        Ok(Meta { json, shown })
    }

    /// Writes `value` as JSON, which must be an object. Its `name`, `color` and `avatar` are shown where they are strings and not
    /// empty. A number that JSON cannot write (NaN, an infinity) becomes `null`.
    ///
    /// ```
    /// use presence_core::Meta;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Player {
    ///     name: String,
    ///     team: u8,
    /// }
    ///
    /// let meta = Meta::of(&Player { name: "Ann".into(), team: 2 })?;
    /// assert_eq!(&**meta.json(), r#"{"name":"Ann","team":2}"#);
    /// assert_eq!(meta.name().map(|it| &**it), Some("Ann"));
    /// assert!(Meta::of(&["a", "list"]).is_err());
    /// # Ok::<(), presence_core::MetaError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`MetaError::Value`] if the value cannot be written, such as a map whose keys are lists; otherwise those of
    /// [`from_json`](Self::from_json).
    #[cfg(feature = "serde")]
    pub fn of(value: &(impl serde::Serialize + ?Sized)) -> Result<Self, MetaError> {
        let json = serde_json::to_string(value);
        Meta::from_json(json.map_err(|why| MetaError::Value(why.to_string().into()))?)
    }

    /// Checks that `json` is a JSON object, where an empty text means `{}`. It shows what `shown` says, and not what
    /// the object says.
    ///
    /// # Errors
    ///
    /// [`MetaError`] if the text has more than [`META_BYTES_MAX`] bytes or is no JSON object, or if a part of `shown`
    /// is too large.
    pub fn showing(json: impl Into<Arc<str>>, shown: Shown) -> Result<Self, MetaError> {
        let json = json.into();
        check_size(&json)?;
        if !json.is_empty() {
            json::members(&json, |_, _| {})?;
        }
        let parts = [&shown.name, &shown.color, &shown.avatar];
        if parts
            .into_iter()
            .flatten()
            .any(|it| it.len() > META_BYTES_MAX)
        {
            return Err(MetaError::ShownTooLarge);
        }
        Ok(Meta { json, shown })
    }

    /// The JSON text of the object, at most [`META_BYTES_MAX`] bytes. An empty text means `{}`.
    pub fn json(&self) -> &Arc<str> {
        &self.json
    }

    /// The name, the color and the picture that the person is shown with.
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// The name of the person, if the meta has one.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.shown.name.as_ref()
    }

    /// The color of the person, if the meta has one; otherwise they are shown in [`color_of`] their id.
    pub fn color(&self) -> Option<&Arc<str>> {
        self.shown.color.as_ref()
    }

    /// The URL of the person's picture, if the meta has one.
    pub fn avatar(&self) -> Option<&Arc<str>> {
        self.shown.avatar.as_ref()
    }
}

fn check_size(json: &str) -> Result<(), MetaError> {
    match json.len() <= META_BYTES_MAX {
        true => Ok(()),
        false => Err(MetaError::TooLarge),
    }
}

/// Twelve colors that are dark enough for white letters (WCAG AA, 4.5:1) and at least 0.1 apart in OKLab. `colors.js` of the browser
/// client has the same list: it starts from these and gives people who collide in one room another one.
const PALETTE: [&str; 12] = [
    "#c02712", "#8b3917", "#7f6006", "#415c00", "#007f41", "#006864", "#0169a3", "#2850d8",
    "#713dcf", "#a020a8", "#c10f63", "#63576a",
];

/// The color in which `user` is shown unless they chose one. It is the same on every node and in every release.
pub fn color_of(user: &UserId) -> &'static str {
    // Its low bits are those in which names that differ in one letter differ.
    let hash = fnv1a_64(user.as_str().bytes());
    PALETTE[hash as usize % PALETTE.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_copied_out_of_the_text() {
        let meta = Meta::from_json(r##"{"name":"A\u006en","color":"#fff","avatar":7,"x":{}}"##);
        let meta = meta.unwrap();
        let shown = [meta.name(), meta.color(), meta.avatar()];
        assert_eq!(
            shown.map(|it| it.map(|it| &**it)),
            [Some("Ann"), Some("#fff"), None]
        );
        let twice = Meta::from_json(r#"{"name":"A","name":""}"#).unwrap();
        assert_eq!(twice.name(), None);
        assert_eq!(&**Meta::from_json(" {} ").unwrap().json(), " {} ");
    }

    #[test]
    fn what_is_no_object_or_too_large_is_refused() {
        for text in ["", "null", "[]", "{\"a\":", "{}{}", "{\"a\":\"\\ud800\"}"] {
            let error = Meta::from_json(text).unwrap_err();
            assert!(matches!(error, MetaError::Json(_)), "{text}: {error}");
        }
        let big = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        assert!(Meta::from_json(big(META_BYTES_MAX)).is_ok());
        let error = Meta::from_json(big(META_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(error, MetaError::TooLarge);
        let shown = Shown {
            avatar: Some("x".repeat(META_BYTES_MAX + 1).into()),
            ..Shown::default()
        };
        let error = Meta::showing("", shown.clone()).unwrap_err();
        assert_eq!(error, MetaError::ShownTooLarge);
        assert!(Meta::showing("{", Shown::default()).is_err());
        assert_eq!(Meta::showing("", Shown::default()), Ok(Meta::default()));
    }

    #[test]
    fn a_user_has_one_color_for_ever() {
        let color = |id| color_of(&UserId::new(id).unwrap());
        assert_eq!(color("ann"), color("ann"));
        assert_eq!(
            [color("ann"), color("bob"), color("eve"), color("zoe")],
            ["#c02712", "#c02712", "#8b3917", "#a020a8"]
        );
    }

    #[test]
    fn a_hundred_users_use_the_whole_palette() {
        let mut used: Vec<_> = (0..100)
            .map(|n| color_of(&UserId::new(&format!("user-{n}")).unwrap()))
            .collect();
        used.sort_unstable();
        used.dedup();
        assert_eq!(used.len(), PALETTE.len());
    }
}
