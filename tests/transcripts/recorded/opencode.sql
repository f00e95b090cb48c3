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
INSERT INTO project (id, worktree, vcs, name, icon_url, icon_url_override, icon_color, time_created, time_updated, time_initialized, sandboxes, commands) VALUES ('global', '/home/ana/shop', 'git', NULL, NULL, NULL, NULL, 1795378680252, 1795378684116, NULL, '[]', NULL);
INSERT INTO session (id, project_id, workspace_id, parent_id, slug, directory, path, title, version, share_url, summary_additions, summary_deletions, summary_files, summary_diffs, metadata, cost, tokens_input, tokens_output, tokens_reasoning, tokens_cache_read, tokens_cache_write, revert, permission, agent, model, time_created, time_updated, time_compacting, time_archived) VALUES ('ses_dfb176c5effe0BOselqpsUqy2J', 'global', NULL, NULL, 'tidy-star', '/home/ana/shop', '', 'x', '1.18.33', NULL, 0, 0, 0, NULL, NULL, 0.03764865, 16, 360, 0, 7648, 7975, NULL, 'x', 'build', '{"id":"claude-sonnet-4-6","providerID":"anthropic","variant":"default"}', 1795378680737, 1795378683165, NULL, NULL);
INSERT INTO session (id, project_id, workspace_id, parent_id, slug, directory, path, title, version, share_url, summary_additions, summary_deletions, summary_files, summary_diffs, metadata, cost, tokens_input, tokens_output, tokens_reasoning, tokens_cache_read, tokens_cache_write, revert, permission, agent, model, time_created, time_updated, time_compacting, time_archived) VALUES ('ses_dfb175e06ffe14JIxRki6yTSpq', 'global', NULL, NULL, 'sunny-falcon', '/home/ana/shop', '', 'x', '1.18.33', NULL, 0, 0, 0, NULL, NULL, 0.052473000000000006, 7582, 41, 319, 7526, 0, NULL, 'x', 'build', '{"id":"gpt-5.5","providerID":"gw","variant":"default"}', 1795378684410, 1795378685959, NULL, NULL);
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_204e893e3001NHzRoG9WhEQ4Qp', 'ses_dfb176c5effe0BOselqpsUqy2J', 1795378680804, 1795378683074, '{"role":"user","time":{"created":1795378680804},"agent":"build","model":{"providerID":"anthropic","modelID":"claude-sonnet-4-6"},"summary":{"diffs":[]}}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_204e897a1001TpH7cDXxUtsaY6', 'ses_dfb176c5effe0BOselqpsUqy2J', 1795378681761, 1795378682943, '{"parentID":"msg_204e893e3001NHzRoG9WhEQ4Qp","role":"assistant","mode":"build","agent":"build","path":{"cwd":"/home/ana/shop","root":"/home/ana/shop"},"cost":0.033204,"tokens":{"total":7956,"input":8,"output":300,"reasoning":0,"cache":{"write":7648,"read":0}},"modelID":"claude-sonnet-4-6","providerID":"anthropic","time":{"created":1795378681761,"completed":1795378682942},"finish":"tool-calls"}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_204e89c43001a5Mcsi6ujyXWwj', 'ses_dfb176c5effe0BOselqpsUqy2J', 1795378682947, 1795378683150, '{"parentID":"msg_204e893e3001NHzRoG9WhEQ4Qp","role":"assistant","mode":"build","agent":"build","path":{"cwd":"/home/ana/shop","root":"/home/ana/shop"},"cost":0.00444465,"tokens":{"total":8043,"input":8,"output":60,"reasoning":0,"cache":{"write":327,"read":7648}},"modelID":"claude-sonnet-4-6","providerID":"anthropic","time":{"created":1795378682947,"completed":1795378683149},"finish":"stop"}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_204e8a239001J6BJgc7q9rEgNz', 'ses_dfb175e06ffe14JIxRki6yTSpq', 1795378684473, 1795378685892, '{"role":"user","time":{"created":1795378684473},"agent":"build","model":{"providerID":"gw","modelID":"gpt-5.5"},"summary":{"diffs":[]}}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_204e8a4830014cKx87xs8aTp6a', 'ses_dfb175e06ffe14JIxRki6yTSpq', 1795378685059, 1795378685831, '{"parentID":"msg_204e8a239001J6BJgc7q9rEgNz","role":"assistant","mode":"build","agent":"build","path":{"cwd":"/home/ana/shop","root":"/home/ana/shop"},"cost":0.04667,"tokens":{"total":7834,"input":7534,"output":33,"reasoning":267,"cache":{"write":0,"read":0}},"modelID":"gpt-5.5","providerID":"gw","time":{"created":1795378685059,"completed":1795378685830},"finish":"tool-calls"}');
INSERT INTO message (id, session_id, time_created, time_updated, data) VALUES ('msg_204e8a78a0019ZepzTDOABL3aw', 'ses_dfb175e06ffe14JIxRki6yTSpq', 1795378685834, 1795378685954, '{"parentID":"msg_204e8a239001J6BJgc7q9rEgNz","role":"assistant","mode":"build","agent":"build","path":{"cwd":"/home/ana/shop","root":"/home/ana/shop"},"cost":0.005803,"tokens":{"total":7634,"input":48,"output":8,"reasoning":52,"cache":{"write":0,"read":7526}},"modelID":"gpt-5.5","providerID":"gw","time":{"created":1795378685834,"completed":1795378685953},"finish":"stop"}');
