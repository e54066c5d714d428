// Commands through SCRIPTS: every phase, disconnection and reselection, errors, several at a time.

import { assert, suite } from '../run/suite.ts';
import { Chip, DATA, pattern, readTen, writeTen } from './chip.ts';

const test = suite('lsi53c895a: commands');

for (const profile of ['lsi53c895a', 'lsi53c895a-noram', 'lsi53c810', 'lsi53c895a-burst']) {
  for (const disconnects of [false, true]) {
    test(`${profile}: writes and reads, ${disconnects ? 'with' : 'without'} disconnection`, async () => {
      const chip = await Chip.create({ profile });
      chip.clearAttention();
      const bytes = pattern(4096, 1);
      chip.machine.memory.writeBytes(DATA, bytes);
      const written = chip.execute({
        cdb: writeTen(16, 8),
        direction: 'out',
        segments: [
          [DATA, 1000],
          [DATA + 1000, 24],
          [DATA + 1024, 3072],
        ],
        disconnects,
      });
      assert.is(written.status, 0);
      assert.is(written.residual, 0);
      assert.equal(chip.disk.read(16 * 512, 4096), bytes);
      const read = chip.execute({
        cdb: readTen(16, 8),
        segments: [
          [DATA + 0x10000, 2222],
          [DATA + 0x10000 + 2222, 4096 - 2222],
        ],
        disconnects,
      });
      assert.is(read.status, 0);
      assert.is(read.residual, 0);
      assert.ok(chip.machine.memory.equals(DATA + 0x10000, bytes));
      assert.is(read.disconnects > 0, disconnects);
    });
  }
}
