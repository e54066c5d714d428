// The protocol itself, against the real server.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { read } from '../run/sources.ts';
import { assert, root, suite } from '../run/suite.ts';
import { Client, withClient } from './client.ts';
import { PciDevice, Places } from './pci.ts';

const test = suite('qtest protocol');
const Q35 = ['-M', 'q35', '-nodefaults'];

test('numbers are answered with as many digits as clients know', () =>
  withClient(Q35, async (client) => {
    assert.equal(
      await client.commands([
        'writeq 0x100000 0x1122334455667788',
        'readb 0x100000',
        'readw 0x100000',
        'readl 0x100001',
        'readq 0x100000',
        'inb 0x3f0',
        'endianness',
        'module_load hw- display',
      ]),
      [
        'OK',
        'OK 0x0000000000000088',
        'OK 0x0000000000007788',
        'OK 0x0000000044556677',
        'OK 0x1122334455667788',
        'OK 0x00ff',
        'OK little',
        'OK',
      ],
    );
  }));

test('runs of bytes go in and out as hexadecimal and base64', () =>
  withClient(Q35, async (client) => {
    assert.equal(
      await client.commands([
        'write 0x2000 0x4 0xdeadbeef',
        'read 0x2000 0x4',
        'b64read 0x2000 0x4',
        'b64write 0x2001 2 AAE=',
        'memset 0x2003 3 0x7f',
        'read 0x1fff 0x8',
        'read 0x2000 0',
        'write 0x2000 0x3 0xaa',
        'read 0x2000 4',
      ]),
      [
        'OK',
        'OK 0xdeadbeef',
        'OK 3q2+7w==',
        'OK',
        'OK',
        'OK 0x00de00017f7f7f00',
        'OK 0x',
        'OK',
        'OK 0xaa00007f',
      ],
    );
  }));

test('mistakes are answered with ERR, and the next command is answered as ever', () =>
  withClient(Q35, async (client) => {
    const wrong = [
      'frobnicate',
      'outb',
      'outb 0x80',
      'inb 0x10000',
      'readl nonsense',
      'write 0x1000 4 deadbeef',
      'b64write 0x1000 4 AAE=',
      'read 0 0xffffffff',
      'irq_intercept_in nobody',
      'irq_intercept_out nobody',
    ];
    for (const answer of await client.commands(wrong)) assert.match(answer, /^ERR .+/);
    assert.is(await client.command('endianness'), 'OK little');
  }));

test('addresses beyond everything read as nothing and lose what is written', () =>
  withClient(Q35, async (client) => {
    assert.equal(
      await client.commands([
        'writel 0xffffffffffffffff 0x1',
        'readl 0xffffffffffffffff',
        'write 0x7fffffe 4 0x01020304',
        'read 0x7fffffe 4',
        'readq 0xd0000000',
      ]),
      ['OK', 'OK 0x0000000000000000', 'OK', 'OK 0x01020000', 'OK 0x0000000000000000'],
    );
  }));

test('thousands of commands in one piece are answered in order', () =>
  withClient(Q35, async (client) => {
    const lines = Array.from({ length: 5000 }, (_, i) => [`writel 0x3000 ${i}`, 'readl 0x3000']).flat();
    const answers = await client.commands(lines);
    answers.forEach((answer, i) => {
      assert.is(answer, i % 2 === 0 ? 'OK' : `OK 0x${((i - 1) / 2).toString(16).padStart(16, '0')}`);
    });
  }));

test('the clock goes where it is set, and never back', () =>
  withClient(Q35, async (client) => {
    assert.equal(
      await client.commands([
        'clock_step 100',
        'clock_step',
        'clock_set 400',
        'clock_set 400',
        'clock_set 1',
      ]),
      ['OK 100', 'OK 100', 'OK 400', 'OK 400', 'OK 400'],
    );
  }));

test('the low bits of CF8h count: register = address | port', () =>
  withClient(Q35, async (client) => {
    const lines = [
      'outl 0xcf8 0x80000002',
      'inw 0xcfc',
      'outl 0xcf8 0x80000000',
      'inw 0xcfe',
      'inl 0xcf8',
      'inw 0xcfd',
    ];
    const [, low, , high, address, across] = await client.commands(lines);
    assert.equal([low, high, address], ['OK 0x29c0', 'OK 0x29c0', 'OK 0x80000000']);
    assert.is(across, 'OK 0xc080', 'a word at CFDh is taken apart');
    assert.equal(await client.commands(['outl 0xcf8 0x80001000', 'inl 0xcfc']), ['OK', 'OK 0xffffffff']);
  }));

test('fw_cfg tells the size of RAM', () =>
  withClient([...Q35, '-m', '384'], async (client) => {
    await client.out('w', 0x510, 3);
    let bytes = 0;
    for (let i = 0; i < 8; i++) bytes += (await client.in('b', 0x511)) * 256 ** i;
    assert.is(bytes, 384 * 2 ** 20);
    assert.is(await client.in('b', 0x511), 0);
  }));

test('machines have their bridges, and their disk controllers where clients look', async () => {
  await withClient(['-M', 'pc', '-nodefaults'], async (client) => {
    const places = new Places();
    assert.is(await new PciDevice(client, places, 0).config(0), 0x12378086);
    assert.is(await new PciDevice(client, places, 1).config(0), 0x70008086);
    assert.is((await new PciDevice(client, places, 1).config(0x0e, 'b')) & 0x80, 0x80);
    const ide = new PciDevice(client, places, 1, 1);
    assert.is(await ide.config(0), 0x70108086);
    assert.is(await ide.config(0x20), 1, 'no BIOS has placed BAR 4');
  });
  await withClient(Q35, async (client) => {
    const places = new Places();
    assert.is(await new PciDevice(client, places, 0).config(0), 0x29c08086);
    assert.is(await new PciDevice(client, places, 0x1f).config(0), 0x29188086);
    const ahci = new PciDevice(client, places, 0x1f, 2);
    assert.is(await ahci.config(0), 0x29228086);
    assert.is(await ahci.config(0x24), 0);
    assert.is(
      (await ahci.config(await ahci.config(0x34, 'b'), 'b')) & 0xff,
      5,
      'MSI is the first capability',
    );
  });
});

test('slots without an address are given out behind those of cards that the machine would have', async () => {
  const lsi = ['-device', 'lsi53c895a'];
  await withClient(['-M', 'q35', ...lsi], async (client) => {
    assert.is(await new PciDevice(client, new Places(), 3).config(0), 0x00121000);
  });
  await withClient([...Q35, ...lsi], async (client) => {
    assert.is(await new PciDevice(client, new Places(), 1).config(0), 0x00121000);
  });
});

test('both programs start, and end with 0 by a signal and by quit', async () => {
  const first = await Client.start(['-M', 'pc'], 'i386');
  assert.is(await first.stop(), 0);
  const second = await Client.start(['-machine', 'none']);
  await second.run('quit');
  assert.is((await second.event('SHUTDOWN')).reason, 'host-qmp-quit');
  assert.is(await second.stop(null), 0);
});

/** The sessions in the documentation: arguments, and lines with `>` and `<` before them. */
const SESSIONS = Array.from(
  read('docs/QTEST.md').matchAll(
    /^(\w+): .*`backplane-system-x86_64 (.*) -qtest stdio`\n\n```qtest\n([^`]*)```/gm,
  ),
  ([, name = '', args = '', text = '']) => ({ name, args: args.split(' '), lines: text.trim().split('\n') }),
);

test('the documentation has a session with AHCI and one with NVMe', () => {
  assert.equal(
    SESSIONS.map(({ name }) => name),
    ['AHCI', 'NVMe'],
  );
});

for (const { name, args, lines } of SESSIONS) {
  test(`the session with ${name} in docs/QTEST.md goes as it stands there`, () => {
    const said = (mark: string): string[] =>
      lines.filter((line) => line.startsWith(`${mark} `)).map((line) => line.slice(2));
    return withClient(args, async (client) => {
      const answers = await client.commands(said('>'));
      const interrupts = said('<').filter((line) => line.startsWith('IRQ'));
      assert.equal(
        answers,
        said('<').filter((line) => !line.startsWith('IRQ')),
      );
      assert.equal(client.interruptLines, interrupts);
    });
  });
}

test('with -run-with exit-with-parent=on the server ends with its parent, though clients are there', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-qtest-'));
  const path = join(folder, 'qtest');
  const listener = createServer().listen(path);
  const server = join(root, 'bin', 'backplane-system-x86_64');
  const options = '-M none -run-with exit-with-parent=on';
  const parent = spawn('sh', ['-c', `"${server}" ${options} -qtest "unix:${path}" & read line`], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  try {
    const [socket] = (await once(listener, 'connection')) as [Socket];
    socket.write('endianness\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    assert.is(answer.toString(), 'OK little\n');
    parent.stdin.end();
    await once(socket, 'close');
  } finally {
    parent.kill();
    listener.close();
    rmSync(folder, { recursive: true });
  }
});
