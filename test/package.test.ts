// What a user of the package gets, as package.json promises it.

import { existsSync } from 'node:fs';
import { read } from './run/sources.ts';
import { assert, root, suite } from './run/suite.ts';

interface Manifest {
  name: string;
  exports: Record<string, string | { types: string; default: string }>;
  dependencies?: Record<string, string>;
  devDependencies: Record<string, string>;
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
