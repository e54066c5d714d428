// Disks of terabytes behind every controller: what is written at the end, at sector 2^32 and across it is there,
// and costs memory only where it was written.

import { sha256 } from '../../src/cli/input.ts';
import { CONTROLLERS } from '../../src/controllers/index.ts';
import { createMachine, loadModule } from '../../src/machine/index.ts';
import { type RamMedium, ramMedium } from '../../src/media/index.ts';
import { runScenario } from '../../src/scenario/run.ts';
import { parseScenario } from '../../src/scenario/schema.ts';
import { assert, suite } from '../run/suite.ts';
import { numbers } from './numbers.ts';

const test = suite('large disks');
const MIB = 2 ** 20;
const TIB = 2 ** 40;
const BYTES = 32768;

const source = numbers(BYTES);

/** Writes and reads the input at each sector, on a disk of `bytes`. */
async function visit(
  controller: string,
  bytes: number,
  sectorBytes: number,
  sectors: readonly number[],
  kernel: string,
) {
  const scenario = parseScenario(
    {
      name: 'large',
      controller,
      kernel,
      disk: { sectorBytes, bytes },
      requestBytes: 16384,
      parts: [
        {
          title: 'there and back',
          operations: sectors.flatMap((sector) => [
            { op: 'write', sector },
            { op: 'read', sector },
          ]),
        },
      ],
    },
    'large',
  );
  const medium: RamMedium = ramMedium(bytes);
  const module = await loadModule();
  const report = await runScenario(scenario, { module, input: source, hash: sha256, medium: () => medium });
  return { report, medium };
}

for (const { kind } of CONTROLLERS) {
  for (const [bytes, sectorBytes, kernel] of [
    [4 * TIB, 512, 'linux'],
    [4096 * TIB, 512, 'linux'],
    [64 * TIB, 4096, 'linux'],
    [4096 * TIB, 512, 'solaris'],
    [64 * TIB, 4096, 'solaris'],
  ] as const) {
    test(`${kind} reaches every end of ${bytes / TIB} TiB in sectors of ${sectorBytes} on ${kernel}`, async () => {
      const blocks = bytes / sectorBytes;
      const length = BYTES / sectorBytes;
      const sectors = [
        0,
        2 ** 28 - length / 2,
        2 ** 31 - length / 2,
        2 ** 32 - length / 2,
        2 ** 32,
        blocks - length,
      ];
      const { report, medium } = await visit(kind, bytes, sectorBytes, sectors, kernel);
      assert.equal(report.parts[0]?.problems, []);
      assert.is(report.parts[0]?.readback.sha256, source.sha256);
      for (const sector of sectors.slice(0, 1).concat(sectors.slice(4))) {
        const found = new Uint8Array(BYTES);
        medium.readv(sector * sectorBytes, [found]);
        assert.is(Buffer.compare(found, source.content), 0, `sector ${sector}`);
      }
      assert.ok(medium.usedBytes < MIB, `${medium.usedBytes} bytes of memory`);
    });
  }
}

test('a RAM disk of more than 512 MiB lies in the host, and only where it is written', async () => {
  const machine = await createMachine({ guard: false });
  const disk = machine.addDisk({ bytes: 2 * TIB });
  disk.write(2 * TIB - 512, source.content.subarray(0, 512));
  assert.equal(disk.read(2 * TIB - 1024, 1024).subarray(512), source.content.subarray(0, 512));
  assert.throws(() => disk.read(2 * TIB, 1), /not all on the disk/);
  assert.ok(disk.medium !== null && (disk.medium as RamMedium).usedBytes < MIB);
  assert.is(machine.addDisk({ bytes: MIB }).medium, null);
  assert.throws(() => machine.addDisk({ bytes: 2 ** 54 }), /a disk of 18014398509481984 bytes/);
});
