// What a user of the package gets, as package.json promises it.

import { existsSync } from 'node:fs';
import { build } from 'esbuild';
import { runNode } from './run/node.ts';
import { read } from './run/sources.ts';
import { assert, root, suite } from './run/suite.ts';

interface Manifest {
  name: string;
  exports: Record<string, string | { types: string; default: string }>;
  dependencies?: Record<string, string>;
  devDependencies: Record<string, string>;
  bin: Record<string, string>;
}

/** A package in the lock file. */
interface Locked {
  version?: string;
  optionalDependencies?: Record<string, string>;
}

const test = suite('package');
const manifest = JSON.parse(read('package.json')) as Manifest;

for (const [subpath, target] of Object.entries(manifest.exports)) {
  if (typeof target === 'string') {
    test(`PKG-01 ${subpath} is a file`, () => {
      assert.ok(existsSync(root + target), `${target} does not exist`);
    });
  } else {
    test(`PKG-02 ${subpath} can be imported and has types`, async () => {
      const source = target.types.replace('./dist/types/', '').replace(/\.d\.ts$/, '.ts');
      assert.ok(existsSync(root + source), `package.json exports ${subpath}, but ${source} does not exist`);
      assert.ok(existsSync(root + target.types), `${target.types} does not exist`);
      await import(manifest.name + subpath.slice(1));
    });
  }
}

test('PKG-03 nothing is needed at run time but Node', () => {
  assert.equal(Object.keys(manifest.dependencies ?? {}), []);
});

test('PKG-04 tools are pinned to exact versions', () => {
  const loose = Object.entries(manifest.devDependencies).filter(
    ([, version]) => !/^\d+\.\d+\.\d+$/.test(version),
  );
  assert.equal(loose, []);
});

test('PKG-05 the lock file records no download address', () => {
  assert.not.match(read('package-lock.json'), /"resolved"/);
});

test('PKG-05 the lock file is of this package.json: npm install leaves it as it is', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Manifest> };
  assert.equal(packages['']?.bin, manifest.bin);
  assert.equal(packages['']?.devDependencies, manifest.devDependencies);
});

test('PKG-05 the lock file has what tools want on other platforms: npm ci refuses one that lacks it', () => {
  const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> };
  const wanted = Object.values(packages).flatMap(({ optionalDependencies = {} }) =>
    Object.entries(optionalDependencies),
  );
  assert.ok(wanted.length > 50);
  for (const [name, version] of wanted) assert.is(packages[`node_modules/${name}`]?.version, version, name);
});

const entries = Object.entries(manifest.exports).filter(([, target]) => typeof target !== 'string');

test('PKG-06 a bundler for browsers takes every entry without being told how', async () => {
  await build({
    stdin: {
      contents: entries.map(([subpath]) => `import '${manifest.name}${subpath.slice(1)}';`).join('\n'),
      resolveDir: root,
    },
    ignoreAnnotations: true, // or nothing would be left of imports that are not used
    bundle: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    logLevel: 'silent',
  });
});

for (const options of [
  ['--types', 'node', '--lib', 'es2022,webworker'],
  ['--types', '', '--lib', 'es2022,dom'],
]) {
  test(`PKG-07 the types are whole with ${options.join(' ')}`, () => {
    const types = entries.map(([, target]) => (typeof target === 'string' ? target : target.types));
    const strict = ['--strict', '--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler'];
    const { stdout } = runNode(
      ['node_modules/typescript/bin/tsc', '--noEmit', '--ignoreConfig', ...strict, ...options, ...types],
      { cwd: root },
    );
    assert.is(stdout, '');
  });
}
