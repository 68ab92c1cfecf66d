//! The numbers of a tensor.

/// As many numbers as it was made with, from the start of a line of the cache on: rows of the tensor are then written
/// whole lines at a time, and no store touches two. None when it was taken.
#[derive(Default)]
pub(super) struct Values {
    memory: Vec<f32>,
    start: usize,
}

/// Numbers in a line of the cache.
const LINE: usize = 16;

impl Values {
    pub fn new(len: usize) -> Values {
        let memory = vec![0.0; len + LINE];
        // Where it lies does not change when the vector moves.
        let start = memory.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Values { memory, start }
    }

    pub fn as_slice(&self) -> &[f32] {
        let len = self.memory.len().saturating_sub(LINE);
        &self.memory[self.start..self.start + len]
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        let len = self.memory.len().saturating_sub(LINE);
        &mut self.memory[self.start..self.start + len]
    }

    /// What lies before and after them.
    #[cfg(test)]
    pub fn around(&mut self) -> [&mut [f32]; 2] {
        let (before, rest) = self.memory.split_at_mut(self.start);
        let len = rest.len() + self.start - LINE;
        [before, &mut rest[len..]]
    }
}
