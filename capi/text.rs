//! Texts and structures of C, checked before they are used.

use std::ffi::c_char;

use milkglass::policy::PolicyFile;

use crate::fault::Fault;

/// A structure that begins with its own size, so that later versions can add to its end.
///
/// # Safety
/// `repr(C)`, its first field is a `usize`, and any bits are a valid value of it.
pub(crate) unsafe trait Versioned: Copy {
    /// Bytes of its first version.
    const LEAST: usize;
}

/// No structure of this interface comes near it: a larger size is a variable that was never set.
const MOST: usize = 4096;

/// Reads a structure of the size that its author knew; what they did not know is zero.
///
/// # Safety
/// `from` is NULL, or its `size` bytes are readable.
pub(crate) unsafe fn sized<T: Versioned>(from: *const T, name: &str) -> Result<T, Fault> {
    let size = check_size(from, name)?;
    // SAFETY: any bits are valid by the trait's promise, zeros too.
    let mut value: T = unsafe { std::mem::zeroed() };
    let known = size.min(size_of::<T>());
    // SAFETY: `size` bytes are readable by the caller's promise, and no more than fit are copied.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), (&raw mut value).cast(), known) };
    for at in known..size {
        // SAFETY: `at` is below `size`.
        if unsafe { *from.cast::<u8>().add(at) } != 0 {
            let why = "asks for something that this version of the library does not know";
            return Err(Fault::argument(format!("{name} {why}; install a newer one")));
        }
    }
    Ok(value)
}

/// Writes a structure, as much of it as its reader knows; their `size` stays.
///
/// # Safety
/// `to` is NULL, or its `size` bytes are readable and writable.
pub(crate) unsafe fn fill<T: Versioned>(to: *mut T, value: T, name: &str) -> Result<(), Fault> {
    let known = check_size(to, name)?.min(size_of::<T>());
    let skip = size_of::<usize>();
    // SAFETY: `known` bytes are writable, and the first field is the size, which `LEAST` is larger than.
    unsafe {
        let from = (&raw const value).cast::<u8>().add(skip);
        std::ptr::copy_nonoverlapping(from, to.cast::<u8>().add(skip), known - skip);
    }
    Ok(())
}

fn check_size<T: Versioned>(at: *const T, name: &str) -> Result<usize, Fault> {
    if at.is_null() {
        return Err(Fault::argument(format!("{name} is NULL")));
    }
    // SAFETY: not NULL, so at least its size is readable, by the promise of both callers.
    let size = unsafe { at.cast::<usize>().read_unaligned() };
    match (T::LEAST..=MOST).contains(&size) {
        true => Ok(size),
        false => Err(Fault::argument(format!("{name}.size is {size}: set it to sizeof {name}"))),
    }
}

/// Writes a number that is asked for by pointer.
///
/// # Safety
/// `to` is NULL or writable.
pub(crate) unsafe fn write(to: *mut u64, value: u64, name: &str) -> Result<(), Fault> {
    if to.is_null() {
        return Err(Fault::argument(format!("{name} is NULL")));
    }
    // SAFETY: not NULL, so writable.
    unsafe { to.write_unaligned(value) };
    Ok(())
}

/// Writes a text and a zero.
///
/// # Safety
/// `to` is NULL or points to `capacity` writable bytes.
pub(crate) unsafe fn tell(to: *mut c_char, capacity: usize, text: &str, name: &str) -> Result<(), Fault> {
    if to.is_null() {
        return Err(Fault::argument(format!("{name} is NULL")));
    }
    if text.len() >= capacity {
        return Err(Fault::argument(format!("{name} has {} bytes, {capacity} are too few", text.len())));
    }
    // SAFETY: text and zero fit into `capacity`, and a text just made is not the caller's memory.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), to.cast::<u8>(), text.len());
        to.add(text.len()).write(0);
    }
    Ok(())
}

/// A text, or nothing. One that goes on beyond the size of the largest policy is refused.
///
/// # Safety
/// `text` is NULL or ends with a zero byte. It is not changed while the result is used.
pub(crate) unsafe fn optional<'a>(text: *const c_char, name: &str) -> Result<Option<&'a str>, Fault> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: every byte up to the first zero is readable, and none behind it is read.
    let end = (0..=PolicyFile::MAX_BYTES).find(|at| unsafe { *text.add(*at) } == 0);
    let end = end.ok_or_else(|| Fault::argument(format!("{name} has no end within 1 MiB")))?;
    // SAFETY: `end` bytes were read just now.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), end) };
    let text =
        std::str::from_utf8(bytes).map_err(|_| Fault::argument(format!("{name} is not UTF-8 text")))?;
    Ok(Some(text))
}
