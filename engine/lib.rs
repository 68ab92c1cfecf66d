//! milkglass
