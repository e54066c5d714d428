// The IDE function of pc through the protocol: bus master, PIO, flushes that are held, errors that stop the machine.

import { assert, suite } from '../run/suite.ts';
import { type Client, withClient } from './client.ts';
import { Images, pattern } from './images.ts';
import { PciDevice, Places } from './pci.ts';

const test = suite('qtest ide');
const images = new Images();
test.after(() => images.remove());
const MIB = 2 ** 20;
const STATUS = 0x1f7;
const [ACTIVE, INTERRUPT] = [1, 4];

class Ide {
  readonly client: Client;
  readonly places = new Places();
  master = 0;

  constructor(client: Client) {
    this.client = client;
  }

  async start(): Promise<this> {
    const pci = new PciDevice(this.client, this.places, 1, 1);
    this.master = (await pci.map(4)).base;
    await pci.enable();
    await this.client.command('irq_intercept_in ioapic');
    return this;
  }

  /** A command of one entry of `bytes` bytes at `buffer`; returns the bus master's status at its end. */
  async transfer(
    command: number,
    lba: number,
    sectors: number,
    buffer: number,
    bytes: number,
  ): Promise<number> {
    const { client, master } = this;
    const toMemory = command === 0xc8;
    const table = this.places.alloc(4096);
    const entry = Buffer.alloc(8);
    entry.writeUInt32LE(buffer, 0);
    entry.writeUInt32LE((bytes & 0xffff) + 2 ** 31, 4);
    await client.write(table, entry);
    await client.out('b', master, 0);
    await client.out('b', master + 2, INTERRUPT);
    await client.out('l', master + 4, table);
    const registers = [sectors & 0xff, lba & 0xff, (lba >> 8) & 0xff, (lba >> 16) & 0xff, 0xe0, command];
    for (const [i, value] of registers.entries()) await client.out('b', 0x1f2 + i, value);
    await client.out('b', master, toMemory ? 9 : 1);
    return client.in('b', master + 2);
  }
}

function disk(file: string, more = ''): string[] {
  return ['-machine', 'pc', '-drive', `file=${file},if=ide,cache=writeback,format=raw${more}`];
}

test('sectors are written and read by the bus master, with an interrupt each', () =>
  withClient(disk(images.raw(MIB)), async (client) => {
    const ide = await new Ide(client).start();
    const buffer = ide.places.alloc(8192);
    const sent = pattern(1024);
    await client.write(buffer, sent);
    assert.is(await ide.transfer(0xca, 1, 2, buffer, 1024), INTERRUPT);
    assert.ok(client.interrupts.has(14));
    assert.is((await client.in('b', STATUS)) & 0xa9, 0);
    assert.not(client.interrupts.has(14), 'reading the status takes the interrupt back');
    assert.is(await ide.transfer(0xc8, 1, 2, buffer + 4096, 1024), INTERRUPT);
    assert.equal(await client.read(buffer + 4096, 1024), sent);
    assert.equal(client.interruptLines.slice(0, 2), ['IRQ raise 14', 'IRQ lower 14']);
  }));

test('lists of another length than the transfer end as the bus master documents', () =>
  withClient(disk(images.raw(MIB)), async (client) => {
    const ide = await new Ide(client).start();
    const buffer = ide.places.alloc(65536);
    assert.is(await ide.transfer(0xc8, 0, 8, buffer, 512), 0, 'shorter');
    assert.is(await ide.transfer(0xc8, 0, 8, buffer, 4096), INTERRUPT, 'equal');
    assert.is(await ide.transfer(0xc8, 0, 8, buffer, 8192), ACTIVE | INTERRUPT, 'longer');
  }));

test('IDENTIFY comes by PIO with the names that the options say', () =>
  withClient(
    [...disk(images.raw(MIB)), '-global', 'ide-hd.serial=testdisk', '-global', 'ide-hd.ver=version'],
    async (client) => {
      await new Ide(client).start();
      await client.out('b', 0x1f6, 0);
      await client.out('b', STATUS, 0xec);
      const words = (await client.commands(Array<string>(256).fill('inw 0x1f0'))).map((word) =>
        Number(word.slice(3)),
      );
      assert.is((await client.in('b', STATUS)) & 8, 0);
      const text = Buffer.from(Uint16Array.from(words).buffer).swap16().toString('latin1');
      assert.is(text.slice(20, 40).trim(), 'testdisk');
      assert.is(text.slice(46, 54).trim(), 'version');
      assert.is((words[85] ?? 0) & 0x20, 0x20, 'write cache');
    },
  ));

test('EXECUTE DEVICE DIAGNOSTIC to drive 1 leaves drive 0 selected', () => {
  const blockdev = (name: string): string[] => [
    '-blockdev',
    `driver=file,node-name=${name},filename=${images.raw(MIB)}`,
  ];
  const device = (name: string, unit: number): string[] => [
    '-device',
    `ide-hd,drive=${name},bus=ide.0,unit=${unit}`,
  ];
  const args = [
    '-machine',
    'pc',
    ...blockdev('hda'),
    ...blockdev('hdb'),
    ...device('hda', 0),
    ...device('hdb', 1),
  ];
  return withClient(args, async (client) => {
    await new Ide(client).start();
    await client.out('b', 0x1f6, 0x10);
    await client.out('b', STATUS, 0x90);
    assert.is((await client.in('b', 0x1f6)) & 0x10, 0);
  });
});

test('a flush that is held is BSY until it is resumed', () =>
  withClient(disk(`blkdebug::${images.raw(MIB)}`), async (client) => {
    await new Ide(client).start();
    assert.is(await client.human('qemu-io ide0-hd0 "break flush_to_os A"'), '');
    await client.out('b', 0x1f6, 0);
    await client.out('b', STATUS, 0xe7);
    assert.is((await client.in('b', STATUS)) & 0xe9, 0xc0, 'BSY and DRDY');
    assert.match(String(await client.human('qemu-io ide0-hd0 "resume B"')), /^Error: .*'B'/);
    assert.is(await client.human('qemu-io ide0-hd0 "resume A"'), '');
    assert.is((await client.in('b', STATUS)) & 0xe9, 0x40);
    await client.out('b', STATUS, 0xe7);
    assert.is((await client.in('b', STATUS)) & 0x80, 0, 'the next is not held');
  }));

test('a flush that fails stops the machine with BSY, and cont ends it', () =>
  withClient(
    disk(`blkdebug:${images.rules('flush_to_disk')}:${images.raw(MIB)}`, ',rerror=stop,werror=stop'),
    async (client) => {
      const ide = await new Ide(client).start();
      await ide.transfer(0xca, 1, 1, ide.places.alloc(4096), 512);
      await client.in('b', STATUS);
      await client.out('b', STATUS, 0xe7);
      assert.is((await client.in('b', STATUS)) & 0xe9, 0xc0);
      await client.event('STOP');
      await client.run('cont');
      await client.event('RESUME');
      await client.in('b', 0x80);
      assert.ok(
        client.interrupts.has(14),
        'an interrupt that no command of the protocol caused is told, too',
      );
      assert.is((await client.in('b', STATUS)) & 0xe9, 0x40);
    },
  ));

test('commands to a channel without drives change nothing', () =>
  withClient(['-machine', 'pc', '-nodefaults'], async (client) => {
    await new Ide(client).start();
    await client.out('b', 0x1f6, 0);
    await client.out('b', STATUS, 0xe7);
    assert.is((await client.in('b', STATUS)) & 0x80, 0);
  }));
