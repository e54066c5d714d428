// Scripts: how they are read, and what becomes of the devices in those that public reports are made of.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadModule } from '../../src/machine/index.ts';
import { commandLineFor, parseScript, replay } from '../../src/qtest/script.ts';
import { backplane, withFolder } from '../cli/command.ts';
import { assert, root, suite } from '../run/suite.ts';

const test = suite('qtest scripts');
let module: WebAssembly.Module | undefined;
const FOLDER = `${root}test/qtest/scripts/`;

/** What the guard finds in each; every device survives every one. */
const OUTCOMES: Readonly<Record<string, readonly string[]>> = {
  'ahci-det-started': [],
  'ahci-length': [],
  'ahci-list-in-registers': ['dev-registers'],
  'ahci-lists-unaligned': [],
  'ahci-long-list': ['dev-hole'],
  'ahci-past-ram': ['dev-hole'],
  'ahci-prd-own-registers': ['dev-registers'],
  'ahci-queued-to-drive': [],
  'ahci-reset-busy': [],
  'ahci-restart-in-pio': [],
  'ahci-straddling': [],
  'ahci-zero': [],
  'ide-geometry-in-pio': [],
  'ide-length': [],
  'ide-no-drive': [],
  'ide-prd-past-ram': ['dev-hole'],
  'ide-reset-in-dma': [],
  'ide-reset-in-pio': [],
  'ide-stop-in-dma': ['dev-hole'],
  'ide-table-zero': [],
  'lsi-dsp-nowhere': ['dev-hole', 'dev-registers'],
  'lsi-format-busy': [],
  'lsi-loop': ['desc-loop'],
  'lsi-move-nothing': ['dev-hole'],
  'lsi-own-ram': [],
  'lsi-own-registers': [],
  'lsi-select-nobody': [],
  'lsi-unaligned': ['dev-hole'],
  'nvme-admin-sizes': ['dev-hole'],
  'nvme-disable-busy': [],
  'nvme-doorbell-early': [],
  'nvme-format-busy': [],
  'nvme-list-loop': [],
  'nvme-log-own-registers': ['dev-registers'],
  'nvme-past-ram': ['dev-hole'],
  'nvme-prp-own-memory': ['dev-hole', 'dev-registers'],
  'nvme-prp-own-registers': ['dev-registers'],
  'nvme-queue-on-doorbells': ['dev-registers'],
  'nvme-straddling': [],
  'nvme-wrap': ['dev-hole'],
  'virtio-lengths': [],
  'virtio-loop': ['desc-loop'],
  'virtio-mmio': ['dev-hole', 'dev-registers'],
  'virtio-ports-unaligned': [],
  'virtio-queue-nowhere': ['dev-hole'],
};

test('every script is in the table', () => {
  const names = readdirSync(FOLDER).map((name) => name.replace('.qtest', ''));
  assert.equal(names.sort(), Object.keys(OUTCOMES).sort());
});

for (const [name, rules] of Object.entries(OUTCOMES)) {
  test(`${name}: ${rules.length === 0 ? 'nothing is found' : rules.join(', ')}, and the devices survive`, async () => {
    const script = parseScript(readFileSync(`${FOLDER}${name}.qtest`, 'utf8'));
    module ??= await loadModule();
    const outcome = await replay(script, commandLineFor(script, []), { readText: () => '', module });
    assert.equal(outcome.refused, []);
    assert.equal([...new Set(outcome.findings.map(({ rule }) => rule))].sort(), rules);
    assert.ok(outcome.survived);
    assert.ok(outcome.commands > 5);
  });
}

test('a script is read with what people wrote around it', () => {
  const { args, commands } = parseScript(
    [
      '# found by a fuzzer',
      'cat << EOF | ./qemu-system-i386 -machine q35,accel=qtest -nodefaults \\',
      '  -device nvme,drive=d0,serial="a b" -drive file=null-co://,if=none,id=d0 -qtest stdio -monitor none',
      '[R +0.010] outl 0xcf8 0x80000810',
      '[S +0.010] OK',
      'write 0x0 0x1 0x00',
      'OK',
      'EOF',
    ].join('\r\n'),
  );
  assert.equal(args, [
    '-machine',
    'q35,accel=qtest',
    '-nodefaults',
    '-device',
    'nvme,drive=d0,serial=a b',
    '-drive',
    'file=null-co://,if=none,id=d0',
  ]);
  assert.equal(commands, [
    { line: 4, text: 'outl 0xcf8 0x80000810' },
    { line: 6, text: 'write 0x0 0x1 0x00' },
  ]);
  assert.equal(parseScript('# -M q35 -m 64\nclock_step').args, ['-M', 'q35', '-m', '64']);
  assert.throws(() => parseScript('outl 1 2\nfrob it\n'), /line 2: "frob it" is no command/);
});

test('the command line says what was found, and by its status whether anything was', () => {
  const found = backplane(['qtest', `${FOLDER}ahci-list-in-registers.qtest`]);
  assert.is(found.status, 1);
  assert.match(found.stdout, /dev-registers/);
  assert.match(found.stdout, /ich9-ahci: survived/);
  const fine = backplane(['qtest', `${FOLDER}ahci-zero.qtest`, '--json']);
  assert.is(fine.status, 0);
  const report = JSON.parse(fine.stdout) as { ok: boolean; machine: string };
  assert.equal([report.ok, report.machine], [true, 'q35']);
});

test('a script is replayed on the machine that is asked for', () =>
  withFolder((folder) => {
    const file = join(folder, 'x.qtest');
    writeFileSync(file, 'outl 0xcf8 0x80002000\ninl 0xcfc\nfoo\n'.replace('foo', 'inb'));
    const args = [
      '-M',
      'pc',
      '-m',
      '64',
      '--drive',
      'if=none,id=d,file=null-co://',
      '-device',
      'nvme,drive=d,serial=1,addr=4',
    ];
    const { status, stdout } = backplane(['qtest', file, ...args]);
    assert.is(status, 0);
    assert.match(stdout, /pc, 64 MiB of RAM/);
    assert.match(stdout, /3 commands, 1 refused\n +line 3: inb: ERR/);
    assert.match(stdout, /nvme\.0 +nvme: survived/);
  }));

test('the line of a report may be pasted, with the program and where it was spoken to', () =>
  withFolder((folder) => {
    const file = join(folder, 'x.qtest');
    writeFileSync(file, 'outl 0xcf8 0x80002000\ninl 0xcfc\n');
    const pasted =
      'qemu-system-i386 -display none -machine accel=qtest,type=q35 -m 512M -nodefaults -qtest stdio -monitor none ' +
      '-drive file=null-co://,if=none,format=raw,id=d -device nvme,drive=d,serial=1,addr=4 -serial none -enable-kvm';
    for (const args of [
      [file, ...pasted.split(' '), '--json'],
      ['--json', ...pasted.split(' ').slice(1), file],
    ]) {
      const { status, stdout } = backplane(['qtest', ...args]);
      assert.is(status, 0);
      const { machine, ramBytes, devices } = JSON.parse(stdout) as {
        machine: string;
        ramBytes: number;
        devices: { type: string }[];
      };
      assert.equal([machine, ramBytes], ['q35', 2 ** 29]);
      assert.equal(
        devices.map(({ type }) => type),
        ['ich9-ahci', 'nvme'],
      );
    }
  }));

test('a line that only speaks of the program is none that starts it', () => {
  const { args, commands } = parseScript(
    [
      '# seen with qemu-system-i386 7.2 (Debian)',
      '# ./qemu-system-i386 -M q35 -device lsi53c895a -qtest stdio < crash.qtest 2>&1',
      'clock_step',
      'qemu-system-i386: hw/ide/core.c:1: some assertion failed',
      '==12==ERROR: AddressSanitizer: heap-buffer-overflow',
    ].join('\n'),
  );
  assert.equal(args, ['-M', 'q35', '-device', 'lsi53c895a']);
  assert.is(commands.length, 1);
});

test('what cannot be read is a mistake of usage, which says what is wrong and where', () =>
  withFolder((folder) => {
    const file = join(folder, 'x.qtest');
    const [missing, good] = [join(folder, 'y.qtest'), join(folder, 'z.qtest')];
    writeFileSync(good, 'clock_step\n');
    const wrong: readonly (readonly [script: string | Buffer, args: readonly string[], message: RegExp])[] = [
      ['#\n\n\n\n\n\noutx 1 2\n', [file], /x\.qtest: line 7: "outx 1 2" is no command .* such as outl/],
      [Buffer.from([0x7f, 0x45, 0, 1]), [file], /x\.qtest: it is binary; a script is text/],
      ['#\n# -M foo\nclock_step\n', [file], /x\.qtest: line 2: there is no machine "foo"; there are pc, q35/],
      ['', [missing], /y\.qtest: there is no such file/],
      ['', [], /missing required argument 'file'/],
      ['', ['-M', 'pc'], /no script is named; write backplane qtest FILE/],
      ['', [good, missing], /y\.qtest" is no option; one script is replayed, and that is .*z\.qtest/],
      ['', [good, '-M', 'isapc'], /no machine "isapc"/],
      ['', [good, '-devise', 'x'], /no option -devise .*did you mean "device"/],
      ['', [good, '-device', 'nvmi'], /'nvmi' is not a valid device model name/],
      ['', [good, '-device'], /-device needs a value/],
    ];
    for (const [script, args, message] of wrong) {
      writeFileSync(file, script);
      const { status, stderr } = backplane(['qtest', ...args]);
      assert.is(status, 2, args.join(' '));
      assert.match(stderr, message);
    }
  }));
