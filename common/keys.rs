//! Ed25519 keys: the owner's, who locks policies, and the device's, which signs its log.

use std::{fmt, io};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use crate::{hex, random, unhex};

/// A public key: 64 hexadecimal digits, which [`Display`](fmt::Display) writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// From 64 hexadecimal digits in lower case; `None` when they are no Ed25519 public key, or a weak one.
    pub fn parse(text: &str) -> Option<PublicKey> {
        let key = VerifyingKey::from_bytes(&unhex(text.trim())?).ok()?;
        // A key of small order would accept signatures of anybody.
        (!key.is_weak()).then_some(PublicKey(key))
    }

    /// Whether the signature is this key's, over this message.
    pub fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A secret key. `Debug` says nothing of it; it is wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey")
    }
}

impl SecretKey {
    /// A new key, from the kernel's random numbers.
    ///
    /// # Errors
    /// They cannot be had.
    pub fn generate() -> io::Result<SecretKey> {
        random().map(|seed| SecretKey(SigningKey::from_bytes(&seed)))
    }

    /// From the text of a key file, 64 hexadecimal digits in lower case; `None` when it is something else.
    pub fn parse(text: &str) -> Option<SecretKey> {
        Some(SecretKey(SigningKey::from_bytes(&unhex(text.trim())?)))
    }

    /// The 64 digits of a key file. Whoever has them is who the key says.
    pub fn to_text(&self) -> String {
        hex(self.0.as_bytes())
    }

    /// The public key that belongs to it.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature over a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, 7.1, the first test: the empty message.
    #[test]
    fn keys_sign_as_the_standard_says_and_show_no_secret() {
        let text = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n";
        let key = SecretKey::parse(text).unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!((key.public().to_string().as_str(), key.to_text().as_str()), (public, text.trim()));
        let mut signature = key.sign(b"");
        assert!(
            hex(signature).starts_with("e5564300c360ac729086e2cc806e828a")
                && key.public().has_signed(b"", &signature)
        );
        assert!(!key.public().has_signed(b"x", &signature));
        signature[0] ^= 1;
        assert!(!key.public().has_signed(b"", &signature));
        assert!(!format!("{key:?}").contains("9d61"));
        assert_ne!(SecretKey::generate().unwrap().to_text(), SecretKey::generate().unwrap().to_text());
        // A key of small order, and no key.
        assert_eq!(PublicKey::parse(&format!("01{}", "0".repeat(62))), None);
        assert_eq!(PublicKey::parse(&public.to_uppercase()), None);
    }
}
