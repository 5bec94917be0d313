//! Resume tokens: a client presents one to continue its session after its connection broke.
//!
//! A token is `body.mac`, both in base64. The body has the session, its epoch, the second in which the token expires, and the id
//! of the device, so a client that names no device keeps the one it had. Tokens of earlier releases have no device in their
//! body: the client has to name the right one.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs, io};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as base64;
use hmac::{Hmac, Mac};
use presence_core::{DeviceId, SessionId, Timestamp, UserId};
use sha2::Sha256;

/// The name of the key file in the data folder.
const FILE: &str = "resume.key";
/// How long a token is valid. The session ends long before that.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The length of session, epoch and end, in bytes. The device follows.
const HEAD_BYTES: usize = 16 + 4 + 4;
const BODY_BYTES_MAX: usize = HEAD_BYTES + DeviceId::BYTES_MAX;
const MAC_BYTES: usize = 32;

/// The key that signs resume tokens, and that makes hashes of the addresses of clients.
#[derive(Clone)]
pub struct ResumeKey([u8; 32]);

impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeKey")
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResumeKeyError {
    /// The key file can be neither read nor created.
    #[error("cannot keep the resume key in {}: {source}", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file does not have the length of a key.
    #[error("{} is not 32 bytes: remove it, and a new one is made", path.display())]
    Other {
        /// The path of the file.
        path: PathBuf,
    },
    /// The operating system has no random numbers.
    #[error("there is no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl ResumeKey {
    /// Makes a random key, for as long as the process lives.
    ///
    /// # Errors
    ///
    /// Fails if the operating system has no random numbers.
    pub fn random() -> Result<ResumeKey, ResumeKeyError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(ResumeKeyError::Randomness)?;
        Ok(ResumeKey(key))
    }

    /// The key that all nodes of a cluster share.
    pub fn shared(secret: [u8; 32]) -> ResumeKey {
        ResumeKey(secret)
    }

    /// The bytes of the key, to share it with the other nodes of a cluster.
    pub fn secret(&self) -> [u8; 32] {
        self.0
    }

    /// The key that is stored in `folder`; a new one if there is none yet. The folder must exist.
    ///
    /// # Errors
    ///
    /// Fails if the file can be neither read nor created, or does not have the length of a key.
    pub fn kept_in(folder: &Path) -> Result<ResumeKey, ResumeKeyError> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => match bytes.try_into() {
                Ok(key) => Ok(ResumeKey(key)),
                Err(_) => Err(ResumeKeyError::Other { path }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = ResumeKey::random()?;
                match key.write(&path) {
                    Ok(()) => Ok(key),
                    Err(source) => Err(ResumeKeyError::File { path, source }),
                }
            }
            Err(source) => Err(ResumeKeyError::File { path, source }),
        }
    }

    /// Writes the key to another file first and renames it, so that a crash leaves no half of a key.
    fn write(&self, path: &Path) -> io::Result<()> {
        let beside = path.with_extension("key.new");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&self.0)?;
        file.sync_all()?;
        fs::rename(beside, path)
    }

    /// The hash of an address, in 16 hexadecimal digits. Nobody who does not have the key can find the address by trying
    /// all of them.
    pub fn hash_of(&self, address: IpAddr) -> String {
        let keyed = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
        // A key of its own, so that no hash is ever part of a token.
        let mut key = keyed(&self.0);
        key.update(b"addresses of clients");
        let mut hash = keyed(&key.finalize().into_bytes());
        hash.update(address.to_string().as_bytes());
        let hash = hash.finalize().into_bytes();
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Makes a token with which this user, on this device, can continue this session.
    pub fn mint(
        &self,
        session: SessionId,
        epoch: u32,
        user: &UserId,
        device: &DeviceId,
        now: Timestamp,
    ) -> String {
        let mut head = [0; HEAD_BYTES];
        head[..16].copy_from_slice(&session.as_u128().to_be_bytes());
        head[16..20].copy_from_slice(&epoch.to_be_bytes());
        head[20..].copy_from_slice(&seconds(now + LIFETIME).to_be_bytes());
        let mac = self.mac(&head, user, device).finalize().into_bytes();
        let body = [&head, device.as_str().as_bytes()].concat();
        format!("{}.{}", base64.encode(body), base64.encode(mac))
    }

    /// The session that `token` continues, if it was made for this user and has not expired. A `device` must be the one that
    /// the token was made for; without one, the token says which device it is.
    pub fn verify(
        &self,
        token: &str,
        user: &UserId,
        device: Option<&DeviceId>,
        now: Timestamp,
    ) -> Option<Resumed> {
        let (body, mac) = token.split_once('.')?;
        let body = decoded(body, BODY_BYTES_MAX)?;
        let (head, of) = body.split_first_chunk::<HEAD_BYTES>()?;
        let device = match (of, device) {
            ([], device) => device?.clone(),
            (of, None) => DeviceId::new(str::from_utf8(of).ok()?).ok()?,
            (of, Some(device)) if of == device.as_str().as_bytes() => device.clone(),
            (_, Some(_)) => return None,
        };
        let mac = decoded(mac, MAC_BYTES)?;
        // Takes the same time wherever they differ.
        self.mac(head, user, &device).verify_slice(&mac).ok()?;
        let session = SessionId::from_u128(u128::from_be_bytes(head[..16].try_into().ok()?));
        let epoch = u32::from_be_bytes(head[16..20].try_into().ok()?);
        let end = u32::from_be_bytes(head[20..].try_into().ok()?);
        (seconds(now) < end).then_some(Resumed {
            session,
            epoch,
            device,
        })
    }

    /// The MAC includes lengths, so that no two pairs of user and device have the same input.
    fn mac(&self, head: &[u8; HEAD_BYTES], user: &UserId, device: &DeviceId) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key may have any length");
        mac.update(b"presence resume 1\0");
        mac.update(head);
        for id in [user.as_str(), device.as_str()] {
            mac.update(&(id.len() as u64).to_be_bytes());
            mac.update(id.as_bytes());
        }
        mac
    }
}

/// The session that a resume token continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// The id of the session.
    pub session: SessionId,
    /// The epoch of the connection that the token was made in.
    pub epoch: u32,
    /// The device that the session is on.
    pub device: DeviceId,
}

fn seconds(moment: Timestamp) -> u32 {
    u32::try_from(moment.as_millis() / 1000).unwrap_or(u32::MAX)
}

/// The bytes that `text` encodes, if there are at most `max` of them.
fn decoded(text: &str, max: usize) -> Option<Vec<u8>> {
    let chars_max = max.div_ceil(3) * 4;
    (text.len() <= chars_max).then(|| base64.decode(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);
    const SESSION: SessionId = SessionId::from_u128(0x0192_f6b0_c4d8_4e7f_a1b2_c3d4_e5f6_0718);

    #[test]
    fn a_token_goes_on_with_its_session_for_a_day() {
        let key = ResumeKey::random().unwrap();
        let token = key.mint(SESSION, 7, &user("ann"), &device("web:x"), NOW);
        let verify = |now| key.verify(&token, &user("ann"), Some(&device("web:x")), now);
        assert_eq!(verify(NOW), Some(resumed("web:x")));
        let end = NOW + LIFETIME;
        let last = Timestamp::from_millis(end.as_millis() - 1);
        assert_eq!(verify(last), Some(resumed("web:x")));
        assert_eq!(verify(end), None);
    }

    #[test]
    fn who_names_no_device_is_on_the_one_that_it_was_minted_for() {
        let key = ResumeKey::random().unwrap();
        let longest = "x".repeat(DeviceId::BYTES_MAX);
        for name in ["web:x", "x", &longest] {
            let token = key.mint(SESSION, 7, &user("ann"), &device(name), NOW);
            let verify = |user: &UserId| key.verify(&token, user, None, NOW);
            assert_eq!(verify(&user("ann")), Some(resumed(name)));
            assert_eq!(verify(&user("eve")), None);
        }
    }

    #[test]
    fn a_token_of_an_earlier_release_is_good_for_the_device_that_it_was_minted_for() {
        let key = ResumeKey::random().unwrap();
        let token = key.mint(SESSION, 7, &user("ann"), &device("web:x"), NOW);
        let (body, mac) = token.split_once('.').unwrap();
        let body = base64.decode(body).unwrap();
        let old = format!("{}.{mac}", base64.encode(&body[..HEAD_BYTES]));
        let verify = |device: Option<&str>| {
            let device = device.map(self::device);
            key.verify(&old, &user("ann"), device.as_ref(), NOW)
        };
        assert_eq!(verify(Some("web:x")), Some(resumed("web:x")));
        assert_eq!(verify(Some("web:y")), None);
        assert_eq!(verify(None), None);
    }

    #[test]
    fn it_is_of_one_user_on_one_device_and_of_one_key() {
        let key = ResumeKey::random().unwrap();
        let verify = |key: &ResumeKey, token: &str, user: &str, device: &str| {
            let (user, device) = (self::user(user), self::device(device));
            key.verify(token, &user, Some(&device), NOW)
        };
        let token = key.mint(SESSION, 7, &user("ann"), &device("web:x"), NOW);
        assert_eq!(verify(&key, &token, "eve", "web:x"), None);
        assert_eq!(verify(&key, &token, "ann", "web:y"), None);
        let other = ResumeKey::random().unwrap();
        assert_eq!(verify(&other, &token, "ann", "web:x"), None);

        let token = key.mint(SESSION, 7, &user("ab"), &device("c"), NOW);
        assert_eq!(verify(&key, &token, "a", "bc"), None);
    }

    #[test]
    fn whatever_is_changed_it_is_refused() {
        let key = ResumeKey::random().unwrap();
        let token = key.mint(SESSION, 7, &user("ann"), &device("web:x"), NOW);
        let verify = |token: &str| {
            let on = key.verify(token, &user("ann"), Some(&device("web:x")), NOW);
            let anywhere = key.verify(token, &user("ann"), None, NOW);
            on.or(anywhere)
        };
        assert!(verify(&token).is_some());
        for place in 0..token.len() {
            for c in ["A", "B", "g", "=", ".", ""] {
                let mut changed = token.clone();
                changed.replace_range(place..=place, c);
                assert!(changed == token || verify(&changed).is_none(), "{changed}");
            }
        }
        for bad in [
            "",
            ".",
            "x.y",
            &token[..40],
            &format!("{token}A"),
            &format!("{token}.x"),
            &"A".repeat(100_000),
        ] {
            assert_eq!(verify(bad), None);
        }
    }

    #[test]
    fn the_key_is_kept_and_nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let first = ResumeKey::kept_in(folder.path()).unwrap();
        let second = ResumeKey::kept_in(folder.path()).unwrap();
        assert_eq!(first.0, second.0);
        let mode = fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        fs::write(folder.path().join(FILE), "short").unwrap();
        let error = ResumeKey::kept_in(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not 32 bytes"), "{error}");
        assert!(ResumeKey::kept_in(Path::new("/nowhere")).is_err());
    }

    fn resumed(device: &str) -> Resumed {
        Resumed {
            session: SESSION,
            epoch: 7,
            device: self::device(device),
        }
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn device(id: &str) -> DeviceId {
        DeviceId::new(id).unwrap()
    }
}
