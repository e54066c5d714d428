// Requests of a scenario as Linux does them.

import { EIO } from '../../src/kernel/index.ts';
import { loadModule, Machine } from '../../src/machine/index.ts';
import { bootLinuxHarness } from '../../src/scenario/linux.ts';
import { altered } from '../drivers/altered.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('scenario linux harness');

test('a request of which not all is done is an error, however well it ended', async () => {
  const machine = new Machine(await loadModule(), { ram: 'default', diskBytes: 2 ** 20, guard: true });
  const controller = machine.addController({ kind: 'ahci' });
  const disk = machine.addDisk({ bytes: 65536 });
  controller.attach(disk, 0);
  let missing = 0;
  const attach = altered((driver) => ({
    submit(command) {
      const { done } = command;
      command.done = (ended) => {
        command.done = done;
        ended.residual += missing;
        done.call(ended, ended);
      };
      return driver.submit(command);
    },
  }));
  const harness = bootLinuxHarness({ machine, controller, disk, seed: 1, bounce: true, attach });
  await harness.attach();
  const { address } = harness.allocate(4096, {});
  const read = { direction: 'read', sector: 0, sectors: 8, ranges: [{ address, bytes: 4096 }] } as const;
  assert.is(await harness.transfer(read), 0);
  missing = 512;
  assert.is(await harness.transfer(read), -EIO);
  missing = 0;
  assert.equal([await harness.shutdown(), machine.guard.findings()], [[], []]);
});
