// Drivers of disks pass over an optical drive that shares their controller, and the disk works.

import { attachDriver } from '../../src/drivers/attach.ts';
import { createMachine } from '../../src/machine/index.ts';
import { pattern } from '../piix-ide/ide.ts';
import { assert, suite } from '../run/suite.ts';
import { makeRunner, TestCommand, TestHost } from './host.ts';

const test = suite('drivers: drives');

const PLACES = {
  aha1542: [1, 0],
  ahci: [1, 0],
  'piix-ide': [0, 1],
  lsi53c895a: [1, 0],
} as const;
const DATA = 0x200000;

for (const [kind, [place, unit]] of Object.entries(PLACES)) {
  for (const medium of [false, true]) {
    test(`${kind}: the disk beside ${medium ? 'a drive with a medium' : 'an empty drive'} is the only one`, async () => {
      const machine = await createMachine({
        flavour: 'debug',
        ram: [{ base: 0, bytes: 2 ** 24 }],
        guard: false,
      });
      const controller = machine.addController({ kind });
      const disk = machine.addDisk({ bytes: 2 ** 18 });
      controller.attach(disk, 0);
      controller.attach(machine.addDrive(medium ? { bytes: 2 ** 16 } : {}), place, unit);
      const driver = attachDriver(new TestHost(machine, controller, 0x800000));
      assert.equal(
        driver.disks.map(({ sectors, sectorBytes }) => [sectors, sectorBytes]),
        [[512, 512]],
      );
      const data = pattern(4096, 3);
      machine.memory.writeBytes(DATA, data);
      const command = new TestCommand({ op: 'write', lba: 9, sectors: 8, direction: 'write' });
      command.setSegments([{ address: DATA, bytes: 4096 }]);
      makeRunner(machine, controller, driver, false).run(command);
      assert.is(command.status, 'ok');
      assert.equal(disk.read(9 * 512, 4096), data);
    });
  }
}
