// What a test file imports. Suites register themselves; scripts/test-worker.mjs runs them, on uvu.
//
//   import { assert, suite } from '../run/suite.ts';
//   const test = suite('bounce');
//   test('BNC-01 a page above the limit is copied', () => { … });
//   test.skip('BNC-02 …', 'needs the tracer');

import { suite as uvuSuite } from 'uvu';

export * as assert from 'uvu/assert';

/** A plain function or an async one. A generator is refused by type and at run time: nothing would drive it. */
export type Body = () => void | Promise<void>;

export interface Hook {
  (body: Body): void;
  each(body: Body): void;
}

export interface Suite {
  (name: string, body: Body): void;
  skip(name: string, reason: string): void;
  before: Hook;
  after: Hook;
}

interface Harness {
  readonly root: string;
  /** Adds a suite; the functions wrap what uvu is given, so that every outcome is seen. */
  add(title: string, run: () => void): SuiteWatch;
}

interface SuiteWatch {
  test(name: string, body: Body): Body | undefined;
  skip(name: string, reason: string): void;
  hook(kind: string, body: Body): Body;
}

const harness = (globalThis as { backplaneHarness?: Harness }).backplaneHarness;

function theHarness(): Harness {
  if (harness === undefined) throw new Error('Run tests with `npm test -- <part of the file name>`.');
  return harness;
}

/** The project's folder, with a slash at the end. Test bundles run elsewhere, so `import.meta.url` won't do. */
export const root: string = theHarness().root;

export function suite(title: string): Suite {
  const inner = uvuSuite(title);
  const watch = theHarness().add(title, () => inner.run());
  const hook = (kind: 'before' | 'after'): Hook =>
    Object.assign((body: Body) => inner[kind](watch.hook(kind, body)), {
      each: (body: Body) => inner[kind].each(watch.hook(`${kind}.each`, body)),
    });
  const test = (name: string, body: Body): void => {
    const watched = watch.test(name, body);
    if (watched !== undefined) inner(name, watched);
  };
  return Object.assign(test, {
    skip: (name: string, reason: string) => watch.skip(name, reason),
    before: hook('before'),
    after: hook('after'),
  });
}
