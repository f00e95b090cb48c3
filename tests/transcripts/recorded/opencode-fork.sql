CREATE TABLE `project` (
          `id` text PRIMARY KEY,
          `worktree` text NOT NULL,
          `vcs` text,
          `name` text,
          `icon_url` text,
          `icon_url_override` text,
          `icon_color` text,
          `time_created` integer NOT NULL,
          `time_updated` integer NOT NULL,
          `time_initialized` integer,
          `sandboxes` text NOT NULL,
          `commands` text
        );
CREATE TABLE `session` (
          `id` text PRIMARY KEY,
          `project_id` text NOT NULL,
          `workspace_id` text,
          `parent_id` text,
          `slug` text NOT NULL,
          `directory` text NOT NULL,
          `path` text,
          `title` text NOT NULL,
          `version` text NOT NULL,
          `share_url` text,
          `summary_additions` integer,
          `summary_deletions` integer,
          `summary_files` integer,
          `summary_diffs` text,
          `metadata` text,
          `cost` real DEFAULT 0 NOT NULL,
          `tokens_input` integer DEFAULT 0 NOT NULL,
          `tokens_output` integer DEFAULT 0 NOT NULL,
          `tokens_reasoning` integer DEFAULT 0 NOT NULL,
          `tokens_cache_read` integer DEFAULT 0 NOT NULL,
          `tokens_cache_write` integer DEFAULT 0 NOT NULL,
          `revert` text,
          `permission` text,
          `agent` text,
          `model` text,
          `time_created` integer NOT NULL,
          `time_updated` integer NOT NULL,
          `time_compacting` integer,
          `time_archived` integer,
          CONSTRAINT `fk_session_project_id_project_id_fk` FOREIGN KEY (`project_id`) REFERENCES `project`(`id`) ON DELETE CASCADE
        );
CREATE TABLE `message` (
          `id` text PRIMARY KEY,
          `session_id` text NOT NULL,
          `time_created` integer NOT NULL,
          `time_updated` integer NOT NULL,
          `data` text NOT NULL,
          CONSTRAINT `fk_message_session_id_session_id_fk` FOREIGN KEY (`session_id`) REFERENCES `session`(`id`) ON DELETE CASCADE
        );
INSERT INTO project (id, worktree, vcs, name, icon_url, icon_url_override, icon_color, time_created, time_updated, time_initialized, sandboxes, commands) VALUES ('global', '/home/ana/shop', 'git', NULL, NULL, NULL, NULL, 1795380892605, 1795380897970, NULL, '[]', NULL);
INSERT INTO session (id, project_id, workspace_id, parent_id, slug, directory, path, title, version, share_url, summary_additions, summary_deletions, summary_files, summary_diffs, metadata, cost, tokens_input, tokens_output, tokens_reasoning, tokens_cache_read, tokens_cache_write, revert, permission, agent, model, time_created, time_updated, time_compacting, time_archived) VALUES ('ses_dfaf5aa63ffecLs5SmHKQSFfQ8', 'global', NULL, NULL, 'crisp-rocket', '/home/ana/shop', '', 'x', '1.18.33', NULL, 0, 0, 0, NULL, NULL, 0.0376608, 16, 360, 0, 7651, 7978, NULL, 'x', 'build', '{"id":"claude-sonnet-4-6","providerID":"anthropic","variant":"default"}', 1795380893085, 1795380896174, NULL, NULL);
INSERT INTO session (id, project_id, workspace_id, parent_id, slug, directory, path, title, version, share_url, summary_additions, summary_deletions, summary_files, summary_diffs, metadata, cost, tokens_input, tokens_output, tokens_reasoning, tokens_cache_read, tokens_cache_write, revert, permission, agent, model, time_created, time_updated, time_compacting, time_archived) VALUES ('ses_dfaf594cbffe67l495JnQxADLc', 'global', NULL, NULL, 'swift-knight', '/home/ana/shop', '', 'x (fork #1)', '1.18.33', NULL, 0, 0, 0, NULL, NULL, 0.0700623, 24, 420, 0, 7651, 16372, NULL, NULL, 'build', '{"id":"claude-sonnet-4-6","providerID":"anthropic","variant":"default"}', 1795380898614, 1795380901270, NULL, NULL);
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_2050a55f5001CAUR0rQDX3PPpB', 'ses_dfaf5aa63ffecLs5SmHKQSFfQ8', 1795380893173, 1795380896069, '{"role":"user","time":{"created":1795380893173},"agent":"build","model":{"providerID":"anthropic","modelID":"claude-sonnet-4-6"},"summary":{"diffs":[]}}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_2050a5a72001F7YJvsm4fkry5I', 'ses_dfaf5aa63ffecLs5SmHKQSFfQ8', 1795380894323, 1795380895861, '{"parentID":"msg_2050a55f5001CAUR0rQDX3PPpB","role":"assistant","mode":"build","agent":"build","path":{"cwd":"/home/ana/shop","root":"/home/ana/shop"},"cost":0.03321525,"tokens":{"total":7959,"input":8,"output":300,"reasoning":0,"cache":{"write":7651,"read":0}},"modelID":"claude-sonnet-4-6","providerID":"anthropic","time":{"created":1795380894323,"completed":1795380895859},"finish":"tool-calls"}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_2050a607a001fxbFOK2XUHUEBy', 'ses_dfaf5aa63ffecLs5SmHKQSFfQ8', 1795380895866, 1795380896166, '{"parentID":"msg_2050a55f5001CAUR0rQDX3PPpB","role":"assistant","mode":"build","agent":"build","path":{"cwd":"/home/ana/shop","root":"/home/ana/shop"},"cost":0.00444555,"tokens":{"total":8046,"input":8,"output":60,"reasoning":0,"cache":{"write":327,"read":7651}},"modelID":"claude-sonnet-4-6","providerID":"anthropic","time":{"created":1795380895866,"completed":1795380896164},"finish":"stop"}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_2050a6b5f001hwYmJMQ2H3ZKt8', 'ses_dfaf594cbffe67l495JnQxADLc', 1795380893173, 1795380898665, '{"role":"user","time":{"created":1795380893173},"agent":"build","model":{"providerID":"anthropic","modelID":"claude-sonnet-4-6"},"summary":{"diffs":[]}}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_2050a70a5001xAcJsrg2Wam5GE', 'ses_dfaf594cbffe67l495JnQxADLc', 1795380894323, 1795380900006, '{"parentID":"msg_2050a6b5f001hwYmJMQ2H3ZKt8","role":"assistant","mode":"build","agent":"build","path":{"cwd":"/home/ana/shop","root":"/home/ana/shop"},"cost":0.03321525,"tokens":{"total":7959,"input":8,"output":300,"reasoning":0,"cache":{"write":7651,"read":0}},"modelID":"claude-sonnet-4-6","providerID":"anthropic","time":{"created":1795380894323,"completed":1795380895859},"finish":"tool-calls"}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_2050a70b1001QrCl56InwrNJ0X', 'ses_dfaf594cbffe67l495JnQxADLc', 1795380895866, 1795380900018, '{"parentID":"msg_2050a6b5f001hwYmJMQ2H3ZKt8","role":"assistant","mode":"build","agent":"build","path":{"cwd":"/home/ana/shop","root":"/home/ana/shop"},"cost":0.00444555,"tokens":{"total":8046,"input":8,"output":60,"reasoning":0,"cache":{"write":327,"read":7651}},"modelID":"claude-sonnet-4-6","providerID":"anthropic","time":{"created":1795380895866,"completed":1795380896164},"finish":"stop"}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_2050a710e001b7lkm8c9cT14G8', 'ses_dfaf594cbffe67l495JnQxADLc', 1795380900110, 1795380900179, '{"role":"user","time":{"created":1795380900110},"agent":"build","model":{"providerID":"anthropic","modelID":"claude-sonnet-4-6"},"summary":{"diffs":[]}}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_2050a711e001glv4sU4bkm4TNj', 'ses_dfaf594cbffe67l495JnQxADLc', 1795380900126, 1795380901265, '{"parentID":"msg_2050a710e001b7lkm8c9cT14G8","role":"assistant","mode":"build","agent":"build","path":{"cwd":"/home/ana/shop","root":"/home/ana/shop"},"cost":0.0324015,"tokens":{"total":8462,"input":8,"output":60,"reasoning":0,"cache":{"write":8394,"read":0}},"modelID":"claude-sonnet-4-6","providerID":"anthropic","time":{"created":1795380900126,"completed":1795380901263},"finish":"stop"}');
