// SCRIPTS sources are imported as text: the bundler's loader (scripts/build.mjs, scripts/bundle.mjs).
declare module '*.ss' {
  const text: string;

  // biome-ignore lint/style/noDefaultExport: that is how the loader exports it
  export { text as default };
}
