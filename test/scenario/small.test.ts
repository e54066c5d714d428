// The small layout of RAM, less than a megabyte, is room enough for a scenario on both kernels.

import { sha256 } from '../../src/cli/input.ts';
import { CONTROLLERS } from '../../src/controllers/index.ts';
import { loadModule } from '../../src/machine/index.ts';
import { runScenario } from '../../src/scenario/run.ts';
import { parseScenario } from '../../src/scenario/schema.ts';
import { assert, suite } from '../run/suite.ts';
import { numbers } from './numbers.ts';

const test = suite('small RAM');
const BYTES = 20_000;

const source = numbers(BYTES);

for (const kernel of ['linux', 'solaris']) {
  for (const { kind } of CONTROLLERS) {
    test(`${kind} under ${kernel} writes a file and reads it`, async () => {
      const operations = [{ op: 'write' }, { op: 'flush' }, { op: 'read' }];
      const scenario = parseScenario(
        {
          name: 'small',
          controller: kind,
          kernel,
          machine: { ram: 'small' },
          parts: [{ title: 'file', operations }],
        },
        'small',
      );
      const report = await runScenario(scenario, { module: await loadModule(), input: source, hash: sha256 });
      const [part] = report.parts;
      assert.equal(part?.problems, []);
      assert.equal(part?.readback, { sha256: source.sha256, identical: true, differingBytes: 0 });
    });
  }
}
