// Builds dist/: the WASM module in two flavours (asc), the library and the CLI (esbuild), the types (tsc).
//
//   node scripts/build.mjs [--wasm] [--js] [--types] [--force]
//
// Without a flag everything. A step is skipped while a hash over its inputs is the one of the last build.

import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';
import { at, filesBelow, hashFiles, progress, root, runTool, writeWhole } from './util.mjs';

const stampFile = at('.cache', 'build.json');
const flavours = { release: 'backplane', debug: 'backplane.debug' };

/** Library entries, from the exports map: `.` is src/index.ts, `./linux` is src/linux/index.ts. */
function libraryEntries() {
  const { exports } = JSON.parse(readFileSync(at('package.json'), 'utf8'));
  const entries = {};
  for (const [subpath, target] of Object.entries(exports)) {
    if (typeof target === 'string') continue;
    const name = subpath.slice(2);
    entries[name || 'index'] = name === '' ? 'src/index.ts' : `src/${name}/index.ts`;
  }
  return entries;
}

/** Entries whose source is there; test/package.test.ts fails for those that are not. */
function present(entries) {
  return Object.fromEntries(Object.entries(entries).filter(([, source]) => existsSync(at(source))));
}

const steps = {
  wasm: {
    label: 'hardware (asc)',
    inputs: () => ['asconfig.json', ...filesBelow('assembly').filter((file) => file.endsWith('.ts'))],
    outputs: Object.values(flavours).map((name) => `dist/${name}.wasm`),
    async make() {
      if (!existsSync(at('assembly/index.ts'))) return;
      const results = await Promise.all(
        Object.entries(flavours).map(([target, name]) => compileWasm(target, name)),
      );
      failUnless(
        results.every((result) => result.code === 0),
        results.map((result) => result.output).join(''),
      );
    },
  },
  js: {
    label: 'library and CLI (esbuild)',
    inputs: () => ['tsconfig.json', ...filesBelow('src', 'assembly', 'firmware')],
    outputs: [...Object.keys(present(libraryEntries())).map((name) => `dist/${name}.js`)],
    async make() {
      const esbuild = await import('esbuild');
      const modules = await bundle(esbuild, present(libraryEntries()), { platform: 'neutral' });
      const cli = await bundle(esbuild, present({ cli: 'src/cli/main.ts', system: 'src/cli/system.ts' }), {
        platform: 'node',
        chunkNames: 'cli-[hash]',
        // Bundled CommonJS packages call require for Node's own modules.
        banner: {
          js: "import { createRequire as __createRequire } from 'node:module';\nconst require = __createRequire(import.meta.url);",
        },
      });
      for (const file of [...modules, ...cli]) writeWhole(file.path, file.contents);
      removeStale('dist', /\.js(\.map)?$/, [...modules, ...cli]);
    },
  },
  types: {
    label: 'types (tsc)',
    inputs: () => ['tsconfig.json', 'tsconfig.build.json', ...filesBelow('src', 'assembly', 'firmware')],
    outputs: Object.values(present(libraryEntries())).map(
      (source) => `dist/types/${source.replace(/\.ts$/, '.d.ts')}`,
    ),
    async make() {
      if (Object.keys(present(libraryEntries())).length === 0) return;
      const scratch = at('dist', `.types.${process.pid}`);
      const { code, output } = await runTool('typescript/bin/tsc', [
        '-p',
        'tsconfig.build.json',
        '--outDir',
        scratch,
      ]);
      if (code !== 0) rmSync(scratch, { recursive: true, force: true });
      failUnless(code === 0, output);
      for (const file of filesBelow(`dist/${basename(scratch)}`)) importJs(file);
      replaceFolder(scratch, at('dist/types'));
    },
  },
};

/** tsc leaves `.ts` in the import paths of declarations; not every tool that reads them follows those. */
function importJs(file) {
  const text = readFileSync(at(file), 'utf8');
  writeFileSync(at(file), text.replace(/((?:from |import\(|import )['"]\.[^'"]*)\.ts(?=['"])/g, '$1.js'));
}

/** Puts a folder in another's place. Where a second build at the same time was quicker, its copy stays. */
function replaceFolder(from, to) {
  rmSync(to, { recursive: true, force: true, maxRetries: 3 });
  try {
    renameSync(from, to);
  } catch (error) {
    if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    rmSync(from, { recursive: true, force: true });
  }
}

class BuildError extends Error {}

function failUnless(condition, output) {
  if (!condition) throw new BuildError(output.trimEnd());
}

async function compileWasm(target, name) {
  const temporary = `dist/.${name}.${process.pid}`;
  const args = ['--config', 'asconfig.json', '--target', target, '--outFile', `${temporary}.wasm`];
  if (target === 'debug') args.push('--sourceMap', `./${name}.wasm.map`);
  const result = await runTool('assemblyscript/bin/asc.js', args);
  for (const suffix of ['.wasm', '.wasm.map']) {
    if (!existsSync(at(temporary + suffix))) continue;
    if (result.code === 0) renameSync(at(temporary + suffix), at(`dist/${name}${suffix}`));
    else rmSync(at(temporary + suffix));
  }
  return result;
}

async function bundle(esbuild, entryPoints, options) {
  if (Object.keys(entryPoints).length === 0) return [];
  try {
    const result = await esbuild.build({
      absWorkingDir: root,
      entryPoints,
      outdir: 'dist',
      bundle: true,
      splitting: true,
      format: 'esm',
      target: 'es2022',
      external: ['node:*'],
      loader: { '.ss': 'text' },
      minifySyntax: true, // folds register constants into the code
      sourcemap: true,
      chunkNames: 'chunk-[hash]',
      write: false,
      logLevel: 'silent',
      ...options,
    });
    return result.outputFiles;
  } catch (error) {
    const messages = await esbuild.formatMessages(error.errors ?? [], { kind: 'error' });
    throw new BuildError(messages.join('') || error.message);
  }
}

/** Removes what an earlier build left: an old chunk would be packed with the rest. */
function removeStale(folder, pattern, kept) {
  const names = new Set(kept.map((file) => basename(file.path)));
  for (const name of readdirSync(at(folder))) {
    if (pattern.test(name) && !names.has(name)) rmSync(at(folder, name));
  }
}

/** Builds the named steps, or all; resolves to the names of those that had work to do. */
export async function build(names = Object.keys(steps), { force = false } = {}) {
  mkdirSync(at('dist'), { recursive: true });
  const stamps = existsSync(stampFile) ? JSON.parse(readFileSync(stampFile, 'utf8')) : {};
  const built = [];
  const make = async (name) => {
    const step = steps[name];
    const hash = hashFiles(['package.json', 'scripts/build.mjs', ...step.inputs()]);
    if (!force && stamps[name] === hash && step.outputs.every((file) => existsSync(at(file)))) return;
    progress(`build: ${step.label}`);
    await step.make();
    stamps[name] = hash;
    built.push(name);
  };
  const results = await Promise.allSettled(names.map(make));
  if (built.length > 0) writeWhole(stampFile, JSON.stringify(stamps));
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  for (const reason of failures) if (!(reason instanceof BuildError)) throw reason;
  if (failures.length > 0) throw new BuildError(failures.map((reason) => reason.message).join('\n'));
  return built;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const flags = process.argv.slice(2);
  const unknown = flags.find((flag) => flag !== '--force' && !(flag.slice(2) in steps));
  const names = Object.keys(steps).filter((name) => flags.includes(`--${name}`));
  try {
    if (unknown !== undefined)
      throw new BuildError(`unknown option ${unknown}; known are --wasm --js --types --force`);
    await build(names.length > 0 ? names : undefined, { force: flags.includes('--force') });
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
