// The page for addresses that nothing is served at: all of it is in the template and in core/frame.js.

export {};
