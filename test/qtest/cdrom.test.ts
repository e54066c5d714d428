// CD-ROM drives through the protocol: packets by PIO and DMA, trays and media that come and go.

import { assert, suite } from '../run/suite.ts';
import { AhciPort, PX } from './ahci.ts';
import { type Client, withClient } from './client.ts';
import { Images, pattern } from './images.ts';
import { PciDevice, Places } from './pci.ts';

const test = suite('qtest cdrom');
const images = new Images();
test.after(() => images.remove());
const BLOCK = 2048;
const DISC = pattern(16 * BLOCK);

function packet(...bytes: readonly number[]): Buffer {
  return Buffer.concat([Buffer.from(bytes)], 16);
}

async function sense(port: AhciPort): Promise<string> {
  await port.run({ command: 0xa0, packet: packet(0x03, 0, 0, 0, 18), bytes: 18 });
  const bytes = await port.client.read(port.buffer, 18);
  return `${bytes[2]}/${bytes[12]?.toString(16)}`;
}

for (const dma of [false, true]) {
  test(`AHCI reads a disc by ${dma ? 'DMA' : 'PIO'}`, () =>
    withClient(
      [
        '-M',
        'q35',
        '-device',
        'ide-cd,drive=d',
        '-drive',
        `if=none,id=d,format=raw,file=${images.raw(DISC.length, DISC)}`,
      ],
      async (client) => {
        const port = await AhciPort.start(client);
        assert.is(await port.get(PX.SIG), 0xeb140101);
        const read10 = packet(0x28, 0, 0, 0, 0, 1, 0, 0, 3);
        assert.is((await port.run({ command: 0xa0, packet: read10, dma, bytes: 3 * BLOCK })) & 1, 0);
        assert.equal(await client.read(port.buffer, 3 * BLOCK), DISC.subarray(BLOCK, 4 * BLOCK));
      },
    ));
}

test('the tray moves by software and by the host, and each move is told', () => {
  const file = images.raw(DISC.length, DISC);
  const disc = ['-blockdev', `node-name=drive0,driver=file,filename=${file}`];
  return withClient([...disc, '-M', 'q35', '-device', 'ide-cd,id=cd0,drive=drive0'], async (client) => {
    const port = await AhciPort.start(client);
    const moved = async (open: boolean): Promise<void> => {
      assert.equal(await client.event('DEVICE_TRAY_MOVED'), { device: '', id: 'cd0', 'tray-open': open });
    };
    const startStop = (bits: number): Promise<number> =>
      port.run({ command: 0xa0, packet: packet(0x1b, 0, 0, 0, bits), bytes: 0 });
    await startStop(2);
    await moved(true);
    await startStop(3);
    await moved(false);
    await client.run('blockdev-open-tray', { id: 'cd0' });
    await moved(true);
    await client.run('blockdev-remove-medium', { id: 'cd0' });
    assert.match(
      (await client.qmp('blockdev-remove-medium', { id: 'nobody' })).error?.desc ?? '',
      /not found/,
    );
    await client.run('blockdev-add', {
      'node-name': 'n0',
      driver: 'raw',
      file: { driver: 'file', filename: file },
    });
    await client.run('blockdev-insert-medium', { id: 'cd0', 'node-name': 'n0' });
    await client.run('blockdev-close-tray', { id: 'cd0' });
    await moved(false);
    const heard: string[] = [];
    for (let i = 0; i < 3; i++) {
      await port.run({ command: 0xa0, packet: packet(0), bytes: 0 });
      heard.push(await sense(port));
    }
    assert.equal(heard, ['2/3a', '6/28', '0/0'], 'not ready, medium changed, ready');
  });
});

test('a locked tray stays closed for the host, unless it insists', () =>
  withClient(
    ['-M', 'q35', '-drive', `if=ide,id=cd,media=cdrom,file=${images.raw(DISC.length, DISC)}`],
    async (client) => {
      const port = await AhciPort.start(client);
      await port.run({ command: 0xa0, packet: packet(0x1e, 0, 0, 0, 1), bytes: 0 });
      assert.match((await client.qmp('eject', { device: 'cd' })).error?.desc ?? '', /locked/);
      await client.run('eject', { device: 'cd', force: true });
      assert.is((await client.event('DEVICE_TRAY_MOVED'))['tray-open'], true);
      const [block] = (await client.run('query-block')) as {
        removable: boolean;
        inserted?: object;
        tray_open: boolean;
      }[];
      assert.is(block?.inserted, undefined);
      assert.is(block?.tray_open, true);
    },
  ));

test('a medium changes for one of another size', () => {
  const long = pattern(40 * BLOCK);
  return withClient(['-M', 'q35', '-cdrom', images.raw(DISC.length, DISC)], async (client) => {
    const port = await AhciPort.start(client, 2);
    const other = images.raw(long.length, long);
    await client.run('blockdev-change-medium', { device: 'ide2-cd0', filename: other, format: 'raw' });
    for (let i = 0; i < 3; i++) await port.run({ command: 0xa0, packet: packet(0), bytes: 0 });
    await port.run({ command: 0xa0, packet: packet(0x25), bytes: 8 });
    assert.is((await client.read(port.buffer, 8)).readUInt32BE(0), 39);
    assert.match(String(await client.human('info block')), new RegExp(`ide2-cd0: ${other}.*raw.*read-only`));
  });
});

/** A PACKET by PIO on the primary channel, read in pieces of `limit` bytes, each announced by an interrupt. */
async function readByPio(client: Client, cdb: Buffer, limit: number): Promise<Buffer> {
  await client.out('b', 0x1f6, 0);
  await client.out('b', 0x1f4, limit & 0xff);
  await client.out('b', 0x1f5, limit >> 8);
  await client.out('b', 0x1f7, 0xa0);
  assert.is((await client.in('b', 0x1f7)) & 0xc9, 0x48, 'DRDY and DRQ');
  for (let i = 0; i < 12; i += 2) await client.out('w', 0x1f0, cdb.readUInt16LE(i));
  const words: number[] = [];
  while (true) {
    assert.ok(client.interrupts.has(14), 'every piece, and the end, interrupts');
    const status = await client.in('b', 0x1f7);
    assert.not(client.interrupts.has(14));
    if ((status & 8) === 0) break;
    const bytes = (await client.in('b', 0x1f4)) + (await client.in('b', 0x1f5)) * 256;
    const answers = await client.commands(Array<string>(bytes / 2).fill('inw 0x1f0'));
    words.push(...answers.map((answer) => Number(answer.slice(3))));
  }
  return Buffer.from(Uint16Array.from(words).buffer);
}

test('IDE reads a disc by PIO in pieces of an odd limit', () =>
  withClient(
    [
      '-M',
      'pc',
      '-drive',
      `if=none,file=${images.raw(DISC.length, DISC)},media=cdrom,format=raw,id=sr0,index=0`,
      '-device',
      'ide-cd,drive=sr0,bus=ide.0',
    ],
    async (client) => {
      const ide = new PciDevice(client, new Places(), 1, 1);
      await ide.enable();
      await client.command('irq_intercept_in ioapic');
      const read = await readByPio(client, packet(0x28, 0, 0, 0, 0, 0, 0, 0, 4), 5121);
      assert.equal(read, DISC.subarray(0, 4 * BLOCK));
    },
  ));

test('an empty drive takes a flush as a mistake of software, no more', () =>
  withClient(['-machine', 'pc', '-device', 'ide-cd,bus=ide.0'], async (client) => {
    await new PciDevice(client, new Places(), 1, 1).enable();
    await client.out('b', 0x1f6, 0);
    await client.out('b', 0x1f7, 0xe7);
    assert.is((await client.in('b', 0x1f7)) & 0x80, 0);
  }));
