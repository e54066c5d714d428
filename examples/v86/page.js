// What `npm run guest` does in Node, in a page: Debian's kernel in v86 on a controller of one's choice, and its shell.

import { Machine } from './machine.js';
import { Terminal } from './terminal.js';

const REFRESH_MS = 250;
const FINDINGS_SHOWN = 50;
const element = (id) => document.getElementById(id);
const number = new Intl.NumberFormat('en');

const terminal = new Terminal(element('terminal'), {
  send: (bytes) => machine?.send(bytes),
  string: (text) => {
    if (text === 'backplane:shell') enterShell();
  },
});

/** What the server says of the guest, and the library's list of controllers. */
let guest = null;
let controllers = [];
/** The machine that runs; null while none does. */
let machine = null;

class Problem extends Error {}

/** An answer of the server that started with `npm run v86-page`. Throws Problem where there is none. */
async function fromServer(path) {
  const usual = 'This page is served, with what it boots, by “npm run v86-page” in a clone of Backplane.';
  let response;
  try {
    response = await fetch(new URL(`../guest/${path}`, location.href));
  } catch {
    throw new Problem(`Nothing answers for guest/${path}: has the server stopped? ${usual}`);
  }
  if (response.status === 503) throw new Problem(await response.text());
  if (!response.ok) throw new Problem(`This server has no guest/${path} (${response.status}).\n${usual}`);
  return response;
}

async function imported(name, remedy) {
  try {
    return await import(name);
  } catch (error) {
    throw new Problem(`${name} cannot be loaded (${error.message}).\n${remedy}`);
  }
}

async function load() {
  guest = await (await fromServer('guest.json')).json();
  ({ CONTROLLERS: controllers } = await imported('backplane/controllers', 'Build it with “npm run build”.'));
  element('controller').append(
    ...guest.disks.map(({ controller }) => option(controller, titleOf(controller))),
  );
  const wanted = new URLSearchParams(location.search);
  choose(element('controller'), wanted.get('controller'));
  showProfiles();
  choose(element('profile'), wanted.get('profile'));
  showAbout();
  showRunning(false);
  say('Ready to start');
}

function option(value, text) {
  return Object.assign(document.createElement('option'), { value, textContent: text });
}

function choose(select, value) {
  if ([...select.options].some((each) => each.value === value)) select.value = value;
}

function titleOf(kind) {
  return `${kind} – ${describe(kind).title}`;
}

function describe(kind) {
  return controllers.find((description) => description.kind === kind);
}

function chosenProfile() {
  return describe(element('controller').value).profiles.find(({ name }) => name === element('profile').value);
}

function showProfiles() {
  const { profiles } = describe(element('controller').value);
  element('profile').replaceChildren(
    ...profiles.map(({ name, board }) => option(name, `${name} – ${board}`)),
  );
}

function showAbout() {
  const { about, addressBits } = chosenProfile();
  const reach = 2 ** addressBits;
  const narrow =
    reach < guest.memoryBytes
      ? ` The guest has ${mib(guest.memoryBytes)} of memory, and the board reaches ${mib(reach)} of it.`
      : '';
  element('about').textContent = `${about}${narrow}`;
}

function say(text) {
  element('status').textContent = text;
}

function showProblem(error) {
  const text = error instanceof Problem ? error.message : String(error?.stack ?? error);
  element('problem').textContent = text;
  element('problem').hidden = false;
  if (!(error instanceof Problem)) console.error(error);
}

/** Which of the controls can be used. */
function showRunning(running) {
  for (const id of ['controller', 'profile', 'start']) element(id).disabled = running;
  element('stop').disabled = !running;
}

async function start() {
  element('problem').hidden = true;
  showRunning(true);
  terminal.reset();
  element('typed').replaceChildren();
  const disk = guest.disks.find(({ controller }) => controller === element('controller').value);
  try {
    say('Fetching the kernel');
    const { V86 } = await imported('v86', 'Install it with “npm install”.');
    const { attach } = await imported('backplane/v86', 'Build it with “npm run build”.');
    const bytes = async (path) => (await fromServer(path)).arrayBuffer();
    const [kernel, initramfs, bios, vgaBios] = await Promise.all(guest.files.map(bytes));
    machine = new Machine({
      V86,
      attach,
      guest,
      disk,
      profile: chosenProfile().name,
      files: { kernel, initramfs, bios, vgaBios },
      columns: terminal.columns,
      rows: terminal.rows,
      output: (output) => terminal.write(output),
      booting: (times) => {
        element('typed').replaceChildren();
        say(times === 0 ? 'Booting' : `Booting again (${times})`);
      },
      failed: (error) => void stop('Failed').then(() => showProblem(error)),
    });
    terminal.focus();
    await machine.boot();
  } catch (error) {
    await stop('Not started');
    showProblem(error);
  }
}

async function stop(text) {
  showState();
  const stopped = machine;
  machine = null;
  element('typed').replaceChildren();
  say(text);
  await stopped?.close();
  const hadFocus = document.activeElement === element('stop');
  showRunning(false);
  if (hadFocus) element('start').focus();
}

/** The guest has got to its shell. */
function enterShell() {
  if (machine === null) return;
  say(`Running: Linux with ${machine.disk.driver}`);
  const { node } = machine;
  const commands = {
    'Make a file system and mount it': `umount /mnt 2> /dev/null; mkfs.ext4 -q -F ${node} && mount ${node} /mnt && df -h /mnt`,
    'Copy files and compare':
      'cp -r /lib/modules /mnt && sync && echo 3 > /proc/sys/vm/drop_caches && diff -r /lib/modules /mnt/modules && echo the same',
    'Read past the cache': `time dd if=${node} of=/dev/null bs=1M iflag=direct`,
    'What the kernel said': `dmesg | tail -n 20`,
  };
  element('typed').replaceChildren(
    ...Object.entries(commands).map(([label, command]) => {
      const button = Object.assign(document.createElement('button'), { type: 'button', textContent: label });
      button.title = command;
      button.addEventListener('click', () => terminal.type(`${command}\n`));
      return button;
    }),
  );
}

function mib(bytes) {
  return `${number.format(bytes / 2 ** 20)} MiB`;
}

function traffic(bytes) {
  if (bytes < 2 ** 20) return `${number.format(Math.round(bytes / 1024))} KiB`;
  return `${number.format(Math.round((bytes / 2 ** 20) * 10) / 10)} MiB`;
}

function showState() {
  const controller = machine?.controller;
  if (!controller) return;
  const { counters } = controller.controller;
  const rows = {
    Profile: controller.profile.name,
    'Address lines': controller.profile.addressBits,
    Driver: machine.disk.driver,
    Disk: `${machine.node}, ${mib(guest.diskBytes)}`,
    Commands: number.format(counters.commands),
    Interrupts: number.format(counters.interrupts),
    'Into memory': traffic(counters.dmaWriteBytes),
    'Out of memory': traffic(counters.dmaReadBytes),
    'Register accesses': number.format(counters.registerReads + counters.registerWrites),
  };
  const list = element('state');
  if (list.childElementCount === 0) {
    element('not-started').hidden = true;
    element('watched').hidden = false;
    for (const name of Object.keys(rows)) list.append(withText('dt', name), withText('dd', ''));
  }
  for (const [i, value] of Object.values(rows).entries()) setText(list.children[2 * i + 1], String(value));
  showFindings(machine.findings);
}

function showFindings(findings) {
  const lines = findings.map(({ message, count }) =>
    count > 1 ? `${message}, ${number.format(count)} times` : message,
  );
  const more = lines.length - FINDINGS_SHOWN;
  const shown = more > 0 ? [...lines.slice(0, FINDINGS_SHOWN), `and ${number.format(more)} more`] : lines;
  const list = element('findings');
  while (list.children.length > shown.length) list.lastChild.remove();
  while (list.children.length < shown.length) list.append(withText('li', ''));
  for (const [i, line] of shown.entries()) setText(list.children[i], line);
  element('no-findings').hidden = shown.length > 0;
}

function withText(name, text) {
  return Object.assign(document.createElement(name), { textContent: text });
}

/** Leaves alone what is right already: a selection in it would be lost. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

element('controller').addEventListener('change', () => {
  showProfiles();
  showAbout();
});
element('profile').addEventListener('change', showAbout);
element('choice').addEventListener('submit', (event) => {
  event.preventDefault();
  void start();
});
element('stop').addEventListener('click', () => void stop('Stopped'));
setInterval(showState, REFRESH_MS);
load().catch((error) => {
  say('Not ready');
  showProblem(error);
});
